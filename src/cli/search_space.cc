#include "cli/search_space.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/rng.h"

namespace grab {
namespace {

constexpr uint64_t kSearchSeed = 1;

// DLRM's batches hold single impressions, a small part of the tokens of a packed user.
std::vector<double> BatchFactors(ModelKind kind) {
  return HasHistory(kind) ? std::vector<double>{0.5, 1, 2} : std::vector<double>{0.5, 1, 2, 4};
}

std::vector<SearchedSetting> TrainedSpace(const TrainConfig& train, ModelKind kind) {
  const std::string prefix = absl::StrCat(ModelKindName(kind), ".train.");
  return {
      {prefix + "dense_lr", train.dense_lr, Draw::kLogUniform, {1.0 / 3, 3}, 0, 10},
      {prefix + "table_lr", train.table_lr, Draw::kLogUniform, {1.0 / 3, 3}, 0, 100},
      {prefix + "batch_tokens", static_cast<double>(train.batch_tokens), Draw::kTimes,
       BatchFactors(kind), 1, 1 << 26, true},
      {prefix + "id_dropout", train.id_dropout, Draw::kOneOf, {0, 0.1, 0.2, 0.3}, 0, 0.99},
      {prefix + "passes",
       static_cast<double>(train.passes),
       Draw::kPlus,
       {-1, 0, 1, 2},
       1,
       100000,
       true},
  };
}

std::vector<SearchedSetting> TreesSpace(const TreesConfig& trees) {
  return {
      {"trees.learning_rate", trees.learning_rate, Draw::kLogUniform, {1.0 / 3, 3}, 1e-4, 1},
      {"trees.depth_max",
       static_cast<double>(trees.depth_max),
       Draw::kPlus,
       {-2, -1, 0, 1, 2},
       1,
       16,
       true},
      {"trees.smoothing", trees.smoothing, Draw::kLogUniform, {0.25, 4}, 1e-3, 1e9},
      {"trees.leaf_weight_min", trees.leaf_weight_min, Draw::kLogUniform, {0.1, 10}, 0, 1e9},
  };
}

}  // namespace

std::vector<SearchedSetting> SearchSpace(const Config& config, const Variant& model) {
  if (!model.kind.has_value()) return TreesSpace(config.trees);
  return TrainedSpace(RunConfigOf(config, *model.kind).train, *model.kind);
}

double DrawnValue(const SearchedSetting& setting, double number) {
  const std::vector<double>& choices = setting.choices;
  const double choice = choices[static_cast<size_t>(number * static_cast<double>(choices.size()))];
  double value = choice;
  if (setting.draw == Draw::kLogUniform) {
    value = setting.config_value * choices[0] * std::pow(choices[1] / choices[0], number);
  } else if (setting.draw == Draw::kTimes) {
    value = setting.config_value * choice;
  } else if (setting.draw == Draw::kPlus) {
    value = setting.config_value + choice;
  }
  value = std::clamp(value, setting.min, setting.max);
  return setting.whole ? std::round(value) : value;
}

std::vector<std::string> TrialSettings(const Config& config, const Variant& model, int64_t trial) {
  GRAB_CHECK(trial >= 0);
  std::vector<std::string> settings;
  if (trial == 0) return settings;
  Rng rng(kSearchSeed, static_cast<uint64_t>(trial));
  for (const SearchedSetting& setting : SearchSpace(config, model)) {
    const double value = DrawnValue(setting, rng.Uniform());
    settings.push_back(setting.whole ? absl::StrFormat("%s=%d", setting.key, std::llround(value))
                                     : absl::StrFormat("%s=%.3g", setting.key, value));
  }
  return settings;
}

}  // namespace grab
