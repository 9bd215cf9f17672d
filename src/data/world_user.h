// A user of the simulated world, walked page by page. Formulas and constants: docs/simulator.md.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "data/world_ads.h"

namespace grab {

inline constexpr int kAges = 6;
inline constexpr int kGenders = 3;
inline constexpr int kRegions = 30;
inline constexpr int kDevices = 3;
inline constexpr int kPageAdsMin = 4;
inline constexpr int kPageAdsMax = 8;
inline constexpr uint64_t kWorldUsersMax = 1ULL << 30;  // event ids hold 30 bits of user

struct UserColumns {
  int age = 0;
  int gender = 0;
  int region = 0;
  int device = 0;
};

struct Impression {
  int64_t event_id = 0;  // unique in the world, ascending in a user's time
  int64_t session_id = 0;
  int64_t page_id = 0;
  int64_t ad = 0;  // index in AdCatalogue::ads()
  int64_t request_time_ms = 0;
  int64_t known_time_ms = 0;  // request + dwell
  int position = 0;           // 0 is the top of the page
  bool clicked = false;
  double dwell_s = 0.0;
  double click_probability = 0.0;
  double convert_probability = 0.0;  // given a click
};

struct Conversion {
  int64_t event_id = 0;
  int64_t impression_event_id = 0;
  int64_t ad = 0;
  int64_t click_time_ms = 0;  // request time of the impression
  int64_t time_ms = 0;
};

// Terms of the click logit that are functions of time and counts alone.
double PositionEffect(int position);
double TimeOfDayEffect(int64_t time_ms);
// Of (decayed) earlier exposures to the same ad, to the same category; never positive, falling.
double AdFatigue(double exposures);
double CategoryFatigue(double exposures);

// A count that decays exponentially, read and changed at ascending times.
class DecayingSum {
 public:
  double At(int64_t time_ms, double time_constant_ms) const;
  void Add(int64_t time_ms, double time_constant_ms, double amount);

 private:
  double value_ = 0.0;
  int64_t time_ms_ = kWorldStartMs;
};

// All that user `user` (< kWorldUsersMax) does in [world start, world start + days). Depends on
// (seed, user, days and the catalogue) only. The catalogue must outlive the walk.
class UserWalk {
 public:
  UserWalk(uint64_t seed, uint64_t user, double sessions_per_day, double days,
           const AdCatalogue& catalogue);

  const UserColumns& columns() const { return columns_; }
  // The next page and the conversions of its clicks (some may lie after the world's end), or false
  // at the end of the log. A page is empty when no ad was alive. Both are cleared first.
  bool NextPage(std::vector<Impression>& page, std::vector<Conversion>& conversions);

 private:
  // An interest that drifts: its strength walks at every session, and at times it moves to another
  // topic.
  struct Interest {
    int topic = 0;
    double strength = 0.0;
  };
  struct AdExposure {
    DecayingSum count;
    int64_t dies_ms = 0;
  };

  void DrawUser(Rng& rng, double sessions_per_day);
  int DrawTopic(Rng& rng) const;
  bool StartSession();
  void DriftInterests(double elapsed_days);
  double TopicInterest(int topic, int64_t time_ms) const;
  // What the user's own tastes and conversions add to the logit: topics, advertiser, category.
  double AdInterest(const Ad& ad, int64_t time_ms) const;
  double ExposureFatigue(int64_t ad_index, const Ad& ad, int64_t time_ms) const;
  void ScoreCandidates();  // into scored_, the policy's best first
  void Show(int64_t ad_index, double interest, double logit, int position, Impression& impression);
  void DrawConversion(const Impression& impression, std::vector<Conversion>& conversions);
  void Learn(const std::vector<Impression>& page);
  void ApplyConversionsBefore(int64_t time_ms);

  const AdCatalogue& catalogue_;
  uint64_t user_;
  int64_t end_ms_;
  Rng rng_;
  UserColumns columns_;
  double session_rate_per_ms_ = 0.0;
  double peak_hour_ = 0.0;
  double propensity_ = 0.0;
  std::array<double, kTopics> topic_weights_{};  // how likely an interest starts on a topic
  std::array<Interest, 4> interests_;
  std::array<int, 4> loyal_advertisers_{};
  int weekly_topic_ = 0;
  int weekly_day_ = 0;  // 0 is Monday; this day and the next
  std::array<DecayingSum, kTopics> recent_;
  std::array<DecayingSum, kTopics> habit_;
  std::array<DecayingSum, kCategories> category_exposures_;
  std::array<DecayingSum, kCategories> satisfied_;
  std::unordered_map<int64_t, AdExposure> ad_exposures_;  // of live ads only
  std::vector<Conversion> pending_;                       // not yet happened

  int64_t now_ms_ = kWorldStartMs;
  int64_t session_start_ms_ = kWorldStartMs;
  int64_t pages_left_ = 0;
  int64_t impressions_ = 0;
  int64_t pages_ = 0;
  int64_t sessions_ = 0;
  std::vector<int64_t> candidates_;
  struct Scored {
    double score = 0.0;
    double interest = 0.0;
    double logit = 0.0;
    int64_t ad = 0;
  };
  std::vector<Scored> scored_;
};

}  // namespace grab
