// The world itself, without files: formulas against their stated shape, and the promises of
// AdCatalogue and UserWalk on every page of a few hundred users (one seed: these are invariants of
// each row, not statistics).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "data/world_ads.h"
#include "data/world_user.h"

namespace grab {
namespace {

constexpr uint64_t kSeed = 5;
constexpr double kDays = 14.0;
constexpr double kAdsPerDay = 400.0;
constexpr double kSessionsPerDay = 0.4;
constexpr int64_t kEndMs = kWorldStartMs + 14 * kDayMs;

struct UserLog {
  std::vector<std::vector<Impression>> pages;
  std::vector<Conversion> conversions;
};

UserLog Walk(uint64_t user, double days, const AdCatalogue& catalogue, uint64_t seed = kSeed) {
  UserWalk walk(seed, user, kSessionsPerDay, days, catalogue);
  UserLog log;
  std::vector<Impression> page;
  std::vector<Conversion> conversions;
  while (walk.NextPage(page, conversions)) {
    log.pages.push_back(page);
    log.conversions.insert(log.conversions.end(), conversions.begin(), conversions.end());
  }
  return log;
}

std::vector<Impression> Flatten(const UserLog& log) {
  std::vector<Impression> all;
  for (const auto& page : log.pages) all.insert(all.end(), page.begin(), page.end());
  return all;
}

bool SameImpression(const Impression& a, const Impression& b) {
  return a.event_id == b.event_id && a.session_id == b.session_id && a.page_id == b.page_id &&
         a.ad == b.ad && a.request_time_ms == b.request_time_ms &&
         a.known_time_ms == b.known_time_ms && a.position == b.position && a.clicked == b.clicked &&
         a.dwell_s == b.dwell_s && a.click_probability == b.click_probability;
}

TEST(SimulateFormulas, FatigueAndPositionOnlyEverLowerTheLogit) {
  EXPECT_EQ(AdFatigue(0.0), 0.0);
  EXPECT_EQ(CategoryFatigue(0.0), 0.0);
  EXPECT_EQ(PositionEffect(0), 0.0);
  for (int n = 1; n < 50; ++n) {
    EXPECT_LT(AdFatigue(n), AdFatigue(n - 1));
    EXPECT_LT(CategoryFatigue(n), CategoryFatigue(n - 1));
    EXPECT_LT(AdFatigue(n), CategoryFatigue(n)) << "the same ad tires more than its category";
  }
  for (int p = 1; p < kPageAdsMax; ++p) EXPECT_LT(PositionEffect(p), PositionEffect(p - 1));
}

TEST(SimulateFormulas, TimeOfDayRisesTo2030AndRepeatsDaily) {
  const auto at = [](double hour, int day) {
    return TimeOfDayEffect(kWorldStartMs + day * kDayMs + static_cast<int64_t>(hour * kHourMs));
  };
  for (double hour = 9.0; hour <= 20.5; hour += 0.5) EXPECT_LT(at(hour - 0.5, 0), at(hour, 0));
  for (double hour = 21.0; hour < 24.0; hour += 0.5) EXPECT_GT(at(hour - 0.5, 0), at(hour, 0));
  for (int hour = 0; hour < 24; ++hour) EXPECT_DOUBLE_EQ(at(hour, 0), at(hour, 9));
}

TEST(SimulateFormulas, DecayingSumHalvesAtLn2TimeConstants) {
  DecayingSum sum;
  EXPECT_EQ(sum.At(kWorldStartMs + kDayMs, 1000.0), 0.0);
  const double constant_ms = 1e6;
  const auto half_ms = static_cast<int64_t>(constant_ms * std::log(2.0));
  sum.Add(kWorldStartMs, constant_ms, 4.0);
  // half_ms is rounded to 1 ms of 1e6: a relative error of 1e-6.
  EXPECT_NEAR(sum.At(kWorldStartMs + half_ms, constant_ms), 2.0, 4e-6);
  sum.Add(kWorldStartMs + half_ms, constant_ms, 1.0);
  EXPECT_NEAR(sum.At(kWorldStartMs + 2 * half_ms, constant_ms), 1.5, 4e-6);
}

TEST(SimulateAds, AttributesAreInRangeAndLivesAreHoursToDays) {
  const AdCatalogue catalogue(kSeed, kAdsPerDay, kDays);
  ASSERT_GT(catalogue.ads().size(), 6000u);
  std::vector<int64_t> lives_ms;
  for (size_t i = 0; i < catalogue.ads().size(); ++i) {
    const Ad& ad = catalogue.ads()[i];
    EXPECT_GE(ad.born_ms, catalogue.ads()[i > 0 ? i - 1 : 0].born_ms);
    lives_ms.push_back(ad.dies_ms - ad.born_ms);
    EXPECT_GE(lives_ms.back(), kAdLifeMinMs);
    EXPECT_LE(lives_ms.back(), kAdLifeMaxMs);
    EXPECT_NE(ad.topics[0], ad.topics[1]);
    for (const int topic : ad.topics) EXPECT_TRUE(topic >= 0 && topic < kTopics);
    EXPECT_NEAR(ad.topic_weights[0] + ad.topic_weights[1], 1.0, 1e-12);
    EXPECT_TRUE(ad.category >= 0 && ad.category < kCategories);
    EXPECT_TRUE(ad.advertiser >= 0 && ad.advertiser < kAdvertisers);
    EXPECT_TRUE(ad.price_bucket >= 0 && ad.price_bucket < kPriceBuckets);
    ASSERT_TRUE(ad.tag_count >= 2 && ad.tag_count <= kAdTagsMax);
    const std::set<int> tags(ad.tags.begin(), ad.tags.begin() + ad.tag_count);
    EXPECT_EQ(std::ssize(tags), ad.tag_count);
    EXPECT_TRUE(*tags.begin() >= 0 && *tags.rbegin() < kTags);
  }
  std::nth_element(lives_ms.begin(), lives_ms.begin() + std::ssize(lives_ms) / 2, lives_ms.end());
  const int64_t median_ms = lives_ms[lives_ms.size() / 2];
  EXPECT_GT(median_ms, 12 * kHourMs);
  EXPECT_LT(median_ms, 20 * kHourMs);
}

TEST(SimulateAds, EarlierAdsDoNotDependOnTheLengthOfTheLog) {
  const AdCatalogue longer(kSeed, kAdsPerDay, 14.0);
  const AdCatalogue shorter(kSeed, kAdsPerDay, 3.0);
  ASSERT_LT(shorter.ads().size(), longer.ads().size());
  for (size_t i = 0; i < shorter.ads().size(); ++i) {
    EXPECT_EQ(shorter.ads()[i].born_ms, longer.ads()[i].born_ms);
    EXPECT_EQ(shorter.ads()[i].creative, longer.ads()[i].creative);
    EXPECT_EQ(shorter.ads()[i].click_quality, longer.ads()[i].click_quality);
  }
}

TEST(SimulateAds, DrawLiveGivesDistinctLiveAds) {
  const AdCatalogue catalogue(kSeed, kAdsPerDay, kDays);
  Rng rng(kSeed);
  std::vector<int64_t> drawn;
  for (int64_t time_ms = kWorldStartMs; time_ms < kEndMs; time_ms += kHourMs) {
    catalogue.DrawLive(time_ms, 28, rng, drawn);
    EXPECT_EQ(drawn.size(), 28u) << "hour " << (time_ms - kWorldStartMs) / kHourMs;
    EXPECT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()).size(), drawn.size());
    for (const int64_t index : drawn) {
      const Ad& ad = catalogue.ads()[static_cast<size_t>(index)];
      EXPECT_TRUE(ad.born_ms <= time_ms && time_ms < ad.dies_ms);
    }
  }
}

TEST(SimulateAds, AWorldWithHardlyAnyAdsGivesFewerNotDeadOnes) {
  const AdCatalogue catalogue(kSeed, 1.0, 30.0);
  Rng rng(kSeed);
  std::vector<int64_t> drawn;
  size_t fewest = 28;
  for (int64_t hour = 0; hour < 30 * 24; ++hour) {
    const int64_t time_ms = kWorldStartMs + hour * kHourMs;
    catalogue.DrawLive(time_ms, 28, rng, drawn);
    const auto live = std::count_if(catalogue.ads().begin(), catalogue.ads().end(), [&](auto& ad) {
      return ad.born_ms <= time_ms && time_ms < ad.dies_ms;
    });
    EXPECT_EQ(std::ssize(drawn), live) << "few enough that every live ad is found";
    fewest = std::min(fewest, drawn.size());
  }
  EXPECT_EQ(fewest, 0u) << "the case of a page without ads did not occur";
}

TEST(SimulateUser, EveryPageKeepsTheRules) {
  const AdCatalogue catalogue(kSeed, kAdsPerDay, kDays);
  std::set<int64_t> event_ids;
  int64_t impressions = 0;
  for (uint64_t user = 0; user < 300; ++user) {
    int64_t last_known_ms = kWorldStartMs;
    for (const auto& page : Walk(user, kDays, catalogue).pages) {
      ASSERT_TRUE(std::ssize(page) >= kPageAdsMin && std::ssize(page) <= kPageAdsMax);
      const int64_t request_ms = page[0].request_time_ms;
      EXPECT_GT(request_ms, last_known_ms) << "the page before must be known: DESIGN 3.1 is strict";
      EXPECT_TRUE(request_ms >= kWorldStartMs && request_ms < kEndMs);
      std::set<int64_t> ads;
      for (size_t i = 0; i < page.size(); ++i) {
        const Impression& impression = page[i];
        EXPECT_EQ(impression.request_time_ms, request_ms);
        EXPECT_EQ(impression.page_id, page[0].page_id);
        EXPECT_EQ(impression.session_id, page[0].session_id);
        EXPECT_EQ(impression.position, static_cast<int>(i));
        const int64_t delay_ms = impression.known_time_ms - request_ms;
        EXPECT_TRUE(delay_ms >= 1000 && delay_ms <= 30000) << delay_ms;
        EXPECT_TRUE(impression.click_probability > 0.0 && impression.click_probability < 1.0);
        const Ad& ad = catalogue.ads()[static_cast<size_t>(impression.ad)];
        EXPECT_TRUE(ad.born_ms <= request_ms && request_ms < ad.dies_ms);
        ads.insert(impression.ad);
        event_ids.insert(impression.event_id);
        last_known_ms = std::max(last_known_ms, impression.known_time_ms);
        ++impressions;
      }
      EXPECT_EQ(ads.size(), page.size()) << "an ad stands on a page once";
    }
  }
  EXPECT_GT(impressions, 10000);
  EXPECT_EQ(std::ssize(event_ids), impressions);
}

TEST(SimulateUser, ConversionsFollowClicks) {
  const AdCatalogue catalogue(kSeed, kAdsPerDay, kDays);
  int64_t conversions = 0;
  for (uint64_t user = 0; user < 300; ++user) {
    const UserLog log = Walk(user, kDays, catalogue);
    std::map<int64_t, Impression> by_id;
    for (const Impression& impression : Flatten(log)) by_id[impression.event_id] = impression;
    std::set<int64_t> converted;
    for (const Conversion& conversion : log.conversions) {
      ASSERT_EQ(by_id.count(conversion.impression_event_id), 1u);
      const Impression& impression = by_id[conversion.impression_event_id];
      EXPECT_TRUE(impression.clicked);
      EXPECT_EQ(conversion.ad, impression.ad);
      EXPECT_EQ(conversion.click_time_ms, impression.request_time_ms);
      EXPECT_GT(conversion.time_ms, impression.known_time_ms);
      EXPECT_EQ(by_id.count(conversion.event_id), 0u) << "ids are unique over both kinds of event";
      EXPECT_TRUE(converted.insert(conversion.impression_event_id).second) << "at most one";
      ++conversions;
    }
  }
  EXPECT_GT(conversions, 500);
}

TEST(SimulateUser, PrefixDoesNotDependOnTheLengthOfTheLog) {
  const AdCatalogue longer_ads(kSeed, kAdsPerDay, 14.0);
  const AdCatalogue shorter_ads(kSeed, kAdsPerDay, 5.0);
  for (uint64_t user = 0; user < 50; ++user) {
    const auto longer = Flatten(Walk(user, 14.0, longer_ads));
    const auto shorter = Flatten(Walk(user, 5.0, shorter_ads));
    ASSERT_LE(shorter.size(), longer.size());
    for (size_t i = 0; i < shorter.size(); ++i) {
      EXPECT_TRUE(SameImpression(shorter[i], longer[i])) << "user " << user << " row " << i;
    }
  }
}

TEST(SimulateUser, SeedAndUserBothMatter) {
  const AdCatalogue catalogue(kSeed, kAdsPerDay, kDays);
  std::set<int64_t> first_requests;
  for (uint64_t user = 0; user < 100; ++user) {
    for (const uint64_t seed : {kSeed, kSeed + 1}) {
      const UserLog log = Walk(user, kDays, catalogue, seed);
      if (!log.pages.empty()) first_requests.insert(log.pages[0][0].request_time_ms);
    }
  }
  // 200 walks, a few without a session; two equal first requests out of 1.2e9 ms would be no
  // chance.
  EXPECT_GT(first_requests.size(), 180u);
}

}  // namespace
}  // namespace grab
