#include "data/world_ads.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace grab {
namespace {

constexpr double kAdLifeMedianMs = 16.0 * kHourMs;
constexpr double kAdLifeSigma = 0.8;
constexpr int kDrawsPerWanted = 60;

// Births follow the working day: most at 14:00 UTC, fewest at 02:00.
double BirthsOfHour(double ads_per_day, int64_t hour_of_day) {
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(hour_of_day) - 14.0) / 24.0;
  return ads_per_day / 24.0 * (1.0 + 0.8 * std::cos(angle));
}

}  // namespace

int64_t Poisson(Rng& rng, double mean) {
  GRAB_CHECK(mean >= 0.0 && mean <= 500.0);
  const double limit = std::exp(-mean);
  int64_t count = 0;
  for (double product = rng.Uniform(); product > limit; product *= rng.Uniform()) ++count;
  return count;
}

AdCatalogue::AdCatalogue(uint64_t seed, double ads_per_day, double days) : seed_(seed) {
  DrawShared();
  const auto end_ms = kWorldStartMs + static_cast<int64_t>(days * kDayMs);
  // Starting one longest life early, the first hour has as many live ads as any other.
  for (int64_t hour_ms = kWorldStartMs - kAdLifeMaxMs; hour_ms < end_ms; hour_ms += kHourMs) {
    const int64_t hour = hour_ms / kHourMs;
    Rng rng = WorldRng(seed_, WorldStream::kHour, static_cast<uint64_t>(hour));
    std::vector<int64_t> births(
        static_cast<size_t>(Poisson(rng, BirthsOfHour(ads_per_day, hour % 24))));
    for (int64_t& born_ms : births) {
      born_ms = hour_ms + static_cast<int64_t>(rng.Below(kHourMs));
    }
    std::sort(births.begin(), births.end());
    for (const int64_t born_ms : births) ads_.push_back(DrawAd(ads_.size(), born_ms));
  }
}

void AdCatalogue::DrawShared() {
  Rng rng = WorldRng(seed_, WorldStream::kCatalogue, 0);
  for (double& quality : category_quality_) quality = 0.25 * rng.Normal();
  for (Advertiser& advertiser : advertisers_) {
    for (int& category : advertiser.categories) {
      category = static_cast<int>(rng.Below(kCategories));
    }
    advertiser.price_bucket = static_cast<int>(rng.Below(kPriceBuckets));
    advertiser.click_quality = 0.25 * rng.Normal();
    advertiser.convert_quality = 0.5 * rng.Normal();
  }
  for (auto& centre : topic_centres_) {
    for (double& x : centre) x = rng.Normal();
  }
}

Ad AdCatalogue::DrawAd(uint64_t index, int64_t born_ms) const {
  Rng rng = WorldRng(seed_, WorldStream::kAd, index);
  Ad ad;
  const double life_ms =
      std::clamp(kAdLifeMedianMs * std::exp(kAdLifeSigma * rng.Normal()),
                 static_cast<double>(kAdLifeMinMs), static_cast<double>(kAdLifeMaxMs));
  ad.born_ms = born_ms;
  ad.dies_ms = born_ms + static_cast<int64_t>(life_ms);
  ad.advertiser = static_cast<int>(rng.Below(kAdvertisers));
  const Advertiser& advertiser = advertisers_[static_cast<size_t>(ad.advertiser)];
  ad.category = advertiser.categories[rng.Below(advertiser.categories.size())];
  ad.topics[0] = rng.Bernoulli(0.85) ? ad.category % kTopics : static_cast<int>(rng.Below(kTopics));
  ad.topics[1] = static_cast<int>(
      (static_cast<uint64_t>(ad.topics[0]) + 1 + rng.Below(kTopics - 1)) % kTopics);
  ad.topic_weights[0] = 0.7 + 0.25 * rng.Uniform();
  ad.topic_weights[1] = 1.0 - ad.topic_weights[0];
  ad.price_bucket = std::clamp(advertiser.price_bucket + static_cast<int>(rng.Below(3)) - 1, 0,
                               kPriceBuckets - 1);
  const double price = ad.price_bucket - (kPriceBuckets - 1) / 2.0;
  ad.click_quality = advertiser.click_quality +
                     category_quality_[static_cast<size_t>(ad.category)] - 0.08 * price +
                     0.15 * rng.Normal();
  ad.convert_quality = advertiser.convert_quality - 0.3 * price;
  for (size_t i = 0; i < kCreativeWidth; ++i) {
    double x = 0.25 * rng.Normal();
    for (size_t j = 0; j < 2; ++j) {
      x += ad.topic_weights[j] * topic_centres_[static_cast<size_t>(ad.topics[j])][i];
    }
    ad.creative[i] = static_cast<float>(x);
  }
  DrawTags(rng, ad);
  return ad;
}

void AdCatalogue::DrawTags(Rng& rng, Ad& ad) const {
  const int wanted = 2 + static_cast<int>(rng.Below(kAdTagsMax - 1));
  while (ad.tag_count < wanted) {
    const double which = rng.Uniform();
    const uint64_t topic = which < 0.6    ? static_cast<uint64_t>(ad.topics[0])
                           : which < 0.85 ? static_cast<uint64_t>(ad.topics[1])
                                          : rng.Below(kTopics);
    const int tag = static_cast<int>(topic + kTopics * rng.Below(kTags / kTopics));
    const auto end = ad.tags.begin() + ad.tag_count;
    if (std::find(ad.tags.begin(), end, tag) != end) continue;
    const auto slot = static_cast<size_t>(ad.tag_count++);
    ad.tags[slot] = tag;
    ad.tag_weights[slot] = static_cast<float>(0.2 + 0.8 * rng.Uniform());
  }
}

void AdCatalogue::DrawLive(int64_t time_ms, int wanted, Rng& rng, std::vector<int64_t>& out) const {
  out.clear();
  const auto born_before = [](const Ad& ad, int64_t time) { return ad.born_ms < time; };
  const auto first =
      std::lower_bound(ads_.begin(), ads_.end(), time_ms - kAdLifeMaxMs, born_before);
  const auto last = std::lower_bound(first, ads_.end(), time_ms + 1, born_before);
  if (first == last) return;
  const int64_t offset = first - ads_.begin();
  const auto range = static_cast<uint64_t>(last - first);
  for (int draw = 0; draw < wanted * kDrawsPerWanted && std::ssize(out) < wanted; ++draw) {
    const int64_t index = offset + static_cast<int64_t>(rng.Below(range));
    const bool alive = ads_[static_cast<size_t>(index)].dies_ms > time_ms;
    if (alive && std::find(out.begin(), out.end(), index) == out.end()) out.push_back(index);
  }
}

}  // namespace grab
