// The ads of the simulated world: attributes, birth and death. Formulas and constants:
// docs/simulator.md.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace grab {

inline constexpr int64_t kWorldStartMs = 1704067200000;  // 2024-01-01T00:00:00Z, a Monday
inline constexpr int64_t kHourMs = 3600 * 1000;
inline constexpr int64_t kDayMs = 24 * kHourMs;

inline constexpr int kTopics = 16;
inline constexpr int kCategories = 32;  // category c belongs to topic c % kTopics
inline constexpr int kAdvertisers = 64;
inline constexpr int kPriceBuckets = 5;
inline constexpr int kTags = 96;  // tag t belongs to topic t % kTopics
inline constexpr int kAdTagsMax = 4;
inline constexpr int kCreativeWidth = 8;
inline constexpr int64_t kAdLifeMinMs = 2 * kHourMs;
inline constexpr int64_t kAdLifeMaxMs = 4 * kDayMs;

// Streams of base/rng.h: the kind above, the index of the user, ad or hour below.
enum class WorldStream : uint64_t { kCatalogue = 1, kHour = 2, kAd = 3, kUser = 4, kWalk = 5 };
inline Rng WorldRng(uint64_t seed, WorldStream kind, uint64_t index) {
  return Rng(seed, (static_cast<uint64_t>(kind) << 56) | index);
}

// Poisson with a small mean (Knuth's product of uniforms); mean <= 500.
int64_t Poisson(Rng& rng, double mean);

struct Ad {
  int64_t born_ms = 0;  // shown only in [born_ms, dies_ms)
  int64_t dies_ms = 0;
  std::array<int, 2> topics{};  // distinct
  std::array<double, 2> topic_weights{};
  int category = 0;
  int advertiser = 0;
  int price_bucket = 0;  // 0 (cheap) .. kPriceBuckets - 1
  int tag_count = 0;
  std::array<int, kAdTagsMax> tags{};  // distinct, tag_count of them
  std::array<float, kAdTagsMax> tag_weights{};
  std::array<float, kCreativeWidth> creative{};
  double click_quality = 0.0;    // added to the click logit
  double convert_quality = 0.0;  // added to the conversion logit
};

// Every ad that lives within [world start, world start + days), by birth. An ad's index is its id;
// the ads born in the first d days are the same whatever `days` >= d. Memory grows with ads_per_day
// * days, never with users.
class AdCatalogue {
 public:
  AdCatalogue(uint64_t seed, double ads_per_day, double days);

  const std::vector<Ad>& ads() const { return ads_; }
  // Up to `wanted` distinct ads alive at `time_ms`, drawn uniformly, into `out` (cleared first).
  // Fewer only when too few were found alive in a bounded number of draws.
  void DrawLive(int64_t time_ms, int wanted, Rng& rng, std::vector<int64_t>& out) const;

 private:
  // Properties that ads share.
  struct Advertiser {
    std::array<int, 3> categories{};
    int price_bucket = 0;
    double click_quality = 0.0;
    double convert_quality = 0.0;
  };
  void DrawShared();
  Ad DrawAd(uint64_t index, int64_t born_ms) const;
  void DrawTags(Rng& rng, Ad& ad) const;

  uint64_t seed_;
  std::array<Advertiser, kAdvertisers> advertisers_;
  std::array<double, kCategories> category_quality_{};
  std::array<std::array<double, kCreativeWidth>, kTopics> topic_centres_{};
  std::vector<Ad> ads_;
};

}  // namespace grab
