#include "data/world_user.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace grab {
namespace {

constexpr double kClickBias = -2.95;
constexpr double kPropensitySigma = 0.3;
constexpr double kStrengthMean = 2.2;
constexpr double kStrengthStep = 0.2;
constexpr double kStrengthMin = 1.2;
constexpr double kStrengthMax = 3.2;
constexpr double kMoveRatePerDay = 0.13;
constexpr double kLoyalty = 1.6;
constexpr double kWeekly = 0.8;
constexpr double kRecentGain = 1.5;
constexpr double kRecentMs = 2.0 * kHourMs;
constexpr double kHabitGain = 1.8;
constexpr double kHabitMs = 5.0 * kDayMs;
constexpr double kAdFatigueMs = 24.0 * kHourMs;
constexpr double kCategoryFatigueMs = 1.0 * kHourMs;
constexpr double kSatisfied = 1.5;
constexpr double kSatisfiedMs = 2.0 * kDayMs;
constexpr double kConvertBias = -1.6;

constexpr int kCandidates = 28;
constexpr double kGreed = 0.55;
constexpr int64_t kPagesMax = 20;
constexpr int64_t kSessionGapMinMs = 30 * 60 * 1000;
constexpr int64_t kPageGapMinMs = 35 * 1000;
constexpr double kPageGapMeanMs = 60.0 * 1000;
constexpr double kDwellMinS = 1.0;
constexpr double kDwellMaxS = 30.0;

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double Exponential(Rng& rng, double mean) { return -mean * std::log(1.0 - rng.Uniform()); }

double HourOfDay(int64_t time_ms) { return static_cast<double>(time_ms % kDayMs) / kHourMs; }

// Cosine of the distance of two hours on the clock face.
double ClockCosine(double hour, double peak_hour) {
  return std::cos(2.0 * std::numbers::pi * (hour - peak_hour) / 24.0);
}

int DayOfWeek(int64_t time_ms) {
  return static_cast<int>(((time_ms - kWorldStartMs) / kDayMs) % 7);
}

}  // namespace

double PositionEffect(int position) { return -0.12 * position; }

double TimeOfDayEffect(int64_t time_ms) { return 0.25 * ClockCosine(HourOfDay(time_ms), 20.5); }

double AdFatigue(double exposures) { return -0.6 * std::log1p(exposures); }

double CategoryFatigue(double exposures) { return -0.3 * std::log1p(exposures); }

double DecayingSum::At(int64_t time_ms, double time_constant_ms) const {
  if (value_ == 0.0) return 0.0;
  return value_ * std::exp(-static_cast<double>(time_ms - time_ms_) / time_constant_ms);
}

void DecayingSum::Add(int64_t time_ms, double time_constant_ms, double amount) {
  value_ = At(time_ms, time_constant_ms) + amount;
  time_ms_ = time_ms;
}

UserWalk::UserWalk(uint64_t seed, uint64_t user, double sessions_per_day, double days,
                   const AdCatalogue& catalogue)
    : catalogue_(catalogue),
      user_(user),
      end_ms_(kWorldStartMs + static_cast<int64_t>(days * kDayMs)),
      rng_(WorldRng(seed, WorldStream::kWalk, user)) {
  GRAB_CHECK(user < kWorldUsersMax);
  Rng topics = WorldRng(seed, WorldStream::kCatalogue, 1);
  std::array<std::array<double, kTopics>, kAges + kGenders> affinity;
  for (auto& row : affinity) {
    for (double& x : row) x = topics.Normal();
  }
  Rng rng = WorldRng(seed, WorldStream::kUser, user);
  columns_.age = static_cast<int>(rng.Below(kAges));
  columns_.gender = static_cast<int>(rng.Below(kGenders));
  columns_.region = static_cast<int>(rng.Below(kRegions));
  columns_.device = static_cast<int>(rng.Below(kDevices));
  for (size_t k = 0; k < kTopics; ++k) {
    topic_weights_[k] = std::exp(0.35 * affinity[static_cast<size_t>(columns_.age)][k] +
                                 0.25 * affinity[static_cast<size_t>(kAges + columns_.gender)][k]);
  }
  DrawUser(rng, sessions_per_day);
}

void UserWalk::DrawUser(Rng& rng, double sessions_per_day) {
  const double activity = std::exp(0.5 * rng.Normal() - 0.125);  // mean 1
  session_rate_per_ms_ = sessions_per_day * activity / kDayMs;
  peak_hour_ = 24.0 * rng.Uniform();
  propensity_ = kPropensitySigma * rng.Normal() + 0.1 * (columns_.device - 1);
  for (Interest& interest : interests_) {
    interest.topic = DrawTopic(rng);
    interest.strength = kStrengthMean + 0.4 * rng.Normal();
  }
  for (int& advertiser : loyal_advertisers_) {
    advertiser = static_cast<int>(rng.Below(kAdvertisers));
  }
  weekly_topic_ = static_cast<int>(rng.Below(kTopics));
  weekly_day_ = static_cast<int>(rng.Below(7));
}

int UserWalk::DrawTopic(Rng& rng) const {
  double total = 0.0;
  for (const double weight : topic_weights_) total += weight;
  double left = total * rng.Uniform();
  for (int k = 0; k < kTopics; ++k) {
    left -= topic_weights_[static_cast<size_t>(k)];
    if (left < 0.0) return k;
  }
  return kTopics - 1;
}

bool UserWalk::StartSession() {
  // Thinning: arrivals at the peak rate, kept with the chance of their hour.
  const double peak_rate = 1.8 * session_rate_per_ms_;
  int64_t start_ms = now_ms_ + (sessions_ == 0 ? 0 : kSessionGapMinMs);
  for (bool kept = false; !kept;) {
    const double gap_ms = 1.0 + Exponential(rng_, 1.0 / peak_rate);
    if (gap_ms >= static_cast<double>(end_ms_ - start_ms)) return false;
    start_ms += static_cast<int64_t>(gap_ms);
    kept = rng_.Bernoulli((1.0 + 0.8 * ClockCosine(HourOfDay(start_ms), peak_hour_)) / 1.8);
  }
  DriftInterests(static_cast<double>(start_ms - session_start_ms_) / kDayMs);
  now_ms_ = start_ms;
  session_start_ms_ = start_ms;
  ++sessions_;
  pages_left_ = std::min(1 + Poisson(rng_, 1.5), kPagesMax);
  std::erase_if(ad_exposures_, [&](const auto& entry) { return entry.second.dies_ms <= start_ms; });
  return true;
}

void UserWalk::DriftInterests(double elapsed_days) {
  const double move_probability = 1.0 - std::exp(-kMoveRatePerDay * elapsed_days);
  for (Interest& interest : interests_) {
    if (rng_.Bernoulli(move_probability)) {
      interest.topic = DrawTopic(rng_);
      interest.strength = kStrengthMean;
    }
    interest.strength =
        std::clamp(interest.strength + kStrengthStep * rng_.Normal(), kStrengthMin, kStrengthMax);
  }
}

double UserWalk::TopicInterest(int topic, int64_t time_ms) const {
  const auto k = static_cast<size_t>(topic);
  double drifting = 0.0;
  for (const Interest& interest : interests_) {
    if (interest.topic == topic) drifting = std::max(drifting, interest.strength);
  }
  const int days_since = (DayOfWeek(time_ms) - weekly_day_ + 7) % 7;
  const double weekly = topic == weekly_topic_ && days_since < 2 ? kWeekly : 0.0;
  return drifting + weekly + kRecentGain * std::tanh(recent_[k].At(time_ms, kRecentMs)) +
         kHabitGain * std::tanh(habit_[k].At(time_ms, kHabitMs));
}

double UserWalk::AdInterest(const Ad& ad, int64_t time_ms) const {
  double interest = 0.0;
  for (size_t j = 0; j < 2; ++j) {
    interest += ad.topic_weights[j] * TopicInterest(ad.topics[j], time_ms);
  }
  const bool loyal = std::find(loyal_advertisers_.begin(), loyal_advertisers_.end(),
                               ad.advertiser) != loyal_advertisers_.end();
  const auto category = static_cast<size_t>(ad.category);
  return interest + (loyal ? kLoyalty : 0.0) -
         kSatisfied * std::tanh(satisfied_[category].At(time_ms, kSatisfiedMs));
}

double UserWalk::ExposureFatigue(int64_t ad_index, const Ad& ad, int64_t time_ms) const {
  const auto seen = ad_exposures_.find(ad_index);
  const double ad_count =
      seen == ad_exposures_.end() ? 0.0 : seen->second.count.At(time_ms, kAdFatigueMs);
  const auto& category = category_exposures_[static_cast<size_t>(ad.category)];
  return AdFatigue(ad_count) + CategoryFatigue(category.At(time_ms, kCategoryFatigueMs));
}

void UserWalk::ScoreCandidates() {
  catalogue_.DrawLive(now_ms_, kCandidates, rng_, candidates_);
  scored_.clear();
  for (const int64_t index : candidates_) {
    const Ad& ad = catalogue_.ads()[static_cast<size_t>(index)];
    Scored scored;
    scored.ad = index;
    scored.interest = AdInterest(ad, now_ms_);
    scored.logit = kClickBias + propensity_ + TimeOfDayEffect(now_ms_) + ad.click_quality +
                   scored.interest + ExposureFatigue(index, ad, now_ms_);
    // Gumbel noise: the page is a draw without replacement from a softmax of kGreed * logit.
    scored.score = kGreed * scored.logit - std::log(-std::log(1.0 - rng_.Uniform()));
    scored_.push_back(scored);
  }
  std::sort(scored_.begin(), scored_.end(), [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score > b.score : a.ad < b.ad;
  });
}

bool UserWalk::NextPage(std::vector<Impression>& page, std::vector<Conversion>& conversions) {
  page.clear();
  conversions.clear();
  if (pages_left_ > 0) {
    now_ms_ += kPageGapMinMs + static_cast<int64_t>(Exponential(rng_, kPageGapMeanMs));
    if (now_ms_ >= end_ms_) return false;
  } else if (!StartSession()) {
    return false;
  }
  --pages_left_;
  ++pages_;
  ApplyConversionsBefore(now_ms_);

  ScoreCandidates();
  const size_t wanted = kPageAdsMin + rng_.Below(kPageAdsMax - kPageAdsMin + 1);
  page.resize(std::min(wanted, scored_.size()));
  for (size_t i = 0; i < page.size(); ++i) {
    const int position = static_cast<int>(i);
    Show(scored_[i].ad, scored_[i].interest, scored_[i].logit + PositionEffect(position), position,
         page[i]);
    if (page[i].clicked) DrawConversion(page[i], conversions);
  }
  Learn(page);
  pending_.insert(pending_.end(), conversions.begin(), conversions.end());
  return true;
}

void UserWalk::Show(int64_t ad_index, double interest, double logit, int position,
                    Impression& impression) {
  const Ad& ad = catalogue_.ads()[static_cast<size_t>(ad_index)];
  const auto user_bits = static_cast<int64_t>(user_ << 32);
  impression.event_id = user_bits | (++impressions_ << 1);
  impression.session_id = user_bits | sessions_;
  impression.page_id = user_bits | pages_;
  impression.ad = ad_index;
  impression.request_time_ms = now_ms_;
  impression.position = position;
  impression.click_probability = Sigmoid(logit);
  impression.convert_probability = Sigmoid(kConvertBias + ad.convert_quality + 0.3 * interest);
  impression.clicked = rng_.Bernoulli(impression.click_probability);
  const double log_dwell = 0.2 + 0.4 * interest + (impression.clicked ? 1.0 : 0.0);
  impression.dwell_s =
      std::clamp(std::exp(log_dwell + 0.45 * rng_.Normal()), kDwellMinS, kDwellMaxS);
  impression.known_time_ms = now_ms_ + static_cast<int64_t>(1000.0 * impression.dwell_s);
}

void UserWalk::DrawConversion(const Impression& impression, std::vector<Conversion>& conversions) {
  if (!rng_.Bernoulli(impression.convert_probability)) return;
  // Half at once (exponential), half after thought (log-normal).
  const double delay_ms = rng_.Bernoulli(0.5) ? Exponential(rng_, 10.0 * 60.0 * 1000.0)
                                              : 6.0 * kHourMs * std::exp(1.2 * rng_.Normal());
  Conversion conversion;
  conversion.event_id = impression.event_id | 1;
  conversion.impression_event_id = impression.event_id;
  conversion.ad = impression.ad;
  conversion.click_time_ms = impression.request_time_ms;
  conversion.time_ms = impression.known_time_ms + 1 + static_cast<int64_t>(delay_ms);
  conversions.push_back(conversion);
}

void UserWalk::Learn(const std::vector<Impression>& page) {
  for (const Impression& impression : page) {
    const Ad& ad = catalogue_.ads()[static_cast<size_t>(impression.ad)];
    for (size_t j = 0; j < 2; ++j) {
      const auto topic = static_cast<size_t>(ad.topics[j]);
      const double weight = ad.topic_weights[j];
      recent_[topic].Add(now_ms_, kRecentMs, weight * (impression.clicked ? 1.0 : -0.35));
      habit_[topic].Add(now_ms_, kHabitMs, weight * (impression.clicked ? 0.5 : -0.12));
    }
    category_exposures_[static_cast<size_t>(ad.category)].Add(now_ms_, kCategoryFatigueMs, 1.0);
    AdExposure& exposure = ad_exposures_[impression.ad];
    exposure.count.Add(now_ms_, kAdFatigueMs, 1.0);
    exposure.dies_ms = ad.dies_ms;
  }
}

void UserWalk::ApplyConversionsBefore(int64_t time_ms) {
  std::erase_if(pending_, [&](const Conversion& conversion) {
    if (conversion.time_ms >= time_ms) return false;
    const Ad& ad = catalogue_.ads()[static_cast<size_t>(conversion.ad)];
    // Decayed from its own time to now, since sums only move forward.
    const double decay =
        std::exp(-static_cast<double>(time_ms - conversion.time_ms) / kSatisfiedMs);
    satisfied_[static_cast<size_t>(ad.category)].Add(time_ms, kSatisfiedMs, decay);
    return true;
  });
}

}  // namespace grab
