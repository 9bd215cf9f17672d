#include "cli/scale_axis.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "config/config.h"

namespace grab {
namespace {

struct AxisInfo {
  const char* name;
  const char* label;
  std::vector<double> defaults;
  double min, max;
  bool whole;  // values are whole numbers
};

const AxisInfo& InfoOf(ScaleAxis axis) {
  static const auto* const kInfos = new std::vector<AxisInfo>{
      {"history",
       "events of history",
       {0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048},
       0,
       1 << 20,
       true},
      {"width", "width of a token", {16, 32, 64, 128, 256}, 1, 65536, true},
      {"depth", "layers", {1, 2, 4, 8}, 1, 256, true},
      {"data", "share of the training time", {0.0625, 0.125, 0.25, 0.5, 1}, 1e-6, 1, false}};
  return (*kInfos)[static_cast<size_t>(axis)];
}

Status CheckValue(ScaleAxis axis, double value) {
  const AxisInfo& info = InfoOf(axis);
  const bool inside = value >= info.min && value <= info.max;
  if (inside && (!info.whole || value == std::floor(value))) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--values: ", info.name, ": expected ", info.whole ? "a whole number" : "a number", " of ",
      info.min, " to ", static_cast<int64_t>(info.max), ", got ", value));
}

std::string Setting(const std::string& key, int64_t value) { return absl::StrCat(key, "=", value); }

std::vector<std::string> HistorySettings(ModelKind kind, const ModelRunConfig& run,
                                         int64_t window_len) {
  const std::string model = ModelKindName(kind);
  std::vector<std::string> settings;
  for (size_t c = 0; c < run.model.channels.size(); ++c) {
    settings.push_back(
        Setting(absl::StrCat(model, ".model.channel.", c, ".window_len"), window_len));
  }
  if (settings.empty()) {
    settings.push_back(
        absl::StrCat(model, ".model.channel=[{name=\"all\", window_len=", window_len, "}]"));
  }
  if (AttendsToChosen(kind)) {
    const int64_t recent_max = std::max<int64_t>(1, window_len);
    const int64_t recent =
        Searches(kind) ? std::min(run.model.search.recent, recent_max) : recent_max;
    settings.push_back(Setting(model + ".model.search.recent", recent));
  }
  // Through each layer a state reaches a window further back.
  const int64_t layers = AttendsToChosen(kind) ? 1 : run.model.layers;
  const int64_t window_size = run.train.window_train + layers * window_len;
  if (window_size > run.train.window_size) {
    settings.push_back(Setting(model + ".train.window_size", window_size));
  }
  const int64_t batch_tokens = 2 * layers * window_len;
  if (run.train.batch == "packed" && batch_tokens > run.train.batch_tokens) {
    settings.push_back(Setting(model + ".train.batch_tokens", batch_tokens));
  }
  return settings;
}

StatusOr<std::vector<std::string>> WidthSettings(ModelKind kind, const ModelConfig& model,
                                                 int64_t d_model) {
  const std::string prefix = absl::StrCat(ModelKindName(kind), ".model.");
  if (HasHistory(kind) && d_model % model.heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--values: width: ", prefix, "heads = ", model.heads, " should divide ", d_model));
  }
  const auto scaled = [&](int64_t width) {
    const double factor = static_cast<double>(d_model) / static_cast<double>(model.d_model);
    return std::max<int64_t>(1, std::llround(static_cast<double>(width) * factor));
  };
  std::vector<std::string> settings = {
      Setting(prefix + "d_model", d_model),
      Setting(prefix + "ffn_hidden", scaled(model.ffn_hidden)),
      Setting(prefix + "tokenizer_hidden", scaled(model.tokenizer_hidden))};
  if (model.latent_width > 0) {
    settings.push_back(Setting(prefix + "latent_width", scaled(model.latent_width)));
  }
  return settings;
}

// To the second, as times of a config are written.
std::vector<std::string> DataSettings(ModelKind kind, double share, const TrainingTime& time) {
  if (share == 1.0) return {};
  const auto whole = static_cast<double>(time.last_ms - time.first_ms);
  const int64_t from_ms = time.last_ms - std::llround(share * whole);
  return {absl::StrCat(ModelKindName(kind), ".train.from=", FormatTimeMs(from_ms))};
}

StatusOr<std::vector<std::string>> SettingsAt(const Config& config, ModelKind kind, ScaleAxis axis,
                                              double value, const TrainingTime& time) {
  const ModelRunConfig& run = RunConfigOf(config, kind);
  const auto whole = static_cast<int64_t>(value);
  switch (axis) {
    case ScaleAxis::kHistory:
      return HistorySettings(kind, run, whole);
    case ScaleAxis::kWidth:
      return WidthSettings(kind, run.model, whole);
    case ScaleAxis::kDepth:
      return std::vector{Setting(absl::StrCat(ModelKindName(kind), ".model.layers"), whole)};
    case ScaleAxis::kData:
      return DataSettings(kind, value, time);
  }
  GRAB_CHECK_MSG(false, "no such axis");
  return std::vector<std::string>();
}

}  // namespace

const char* ScaleAxisName(ScaleAxis axis) { return InfoOf(axis).name; }
const char* ScaleAxisLabel(ScaleAxis axis) { return InfoOf(axis).label; }
std::vector<double> DefaultValues(ScaleAxis axis) { return InfoOf(axis).defaults; }

StatusOr<ScaleAxis> ParseScaleAxis(const std::string& name) {
  for (const ScaleAxis axis : kScaleAxes) {
    if (name == ScaleAxisName(axis)) return axis;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--along: expected history, width, depth or data, got '", name, "'"));
}

std::string ValueText(ScaleAxis axis, double value) {
  return InfoOf(axis).whole ? absl::StrCat(static_cast<int64_t>(value)) : absl::StrCat(value);
}

bool HasAxis(std::optional<ModelKind> kind, ScaleAxis axis) {
  if (!kind.has_value()) return false;
  switch (axis) {
    case ScaleAxis::kHistory:
      return HasHistory(*kind);
    case ScaleAxis::kDepth:
      return HasHistory(*kind) && !AttendsToChosen(*kind);
    default:
      return true;
  }
}

StatusOr<TrainingTime> TrainingTimeOf(const ShardSet& shards, const TrainConfig& train) {
  int64_t from_ms = std::numeric_limits<int64_t>::min();
  int64_t until_ms = std::numeric_limits<int64_t>::max();
  if (!train.from.empty()) {
    GRAB_ASSIGN_OR_RETURN(from_ms, ParseTimeMs(train.from));
  }
  if (!train.until.empty()) {
    GRAB_ASSIGN_OR_RETURN(until_ms, ParseTimeMs(train.until));
  }
  TrainingTime time{until_ms, from_ms};
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(Split::kTrain)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (size_t i = 0; i < block.events.size(); ++i) {
      const int64_t time_ms = block.events.request_time_ms[i];
      if (block.events.split[i] != Split::kTrain || time_ms < from_ms || time_ms >= until_ms) {
        continue;
      }
      time.first_ms = std::min(time.first_ms, time_ms);
      time.last_ms = std::max(time.last_ms, time_ms);
    }
  }
  if (time.first_ms <= time.last_ms) return time;
  return absl::InvalidArgumentError(
      absl::StrCat(shards.dir(), ": holds no training target of the model's time"));
}

StatusOr<Variant> ScaledVariant(const Config& config, const Variant& model, ScaleAxis axis,
                                double value, const TrainingTime& time) {
  if (!HasAxis(model.kind, axis)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--models: ", model.name, " has no ", ScaleAxisName(axis), " to scale"));
  }
  GRAB_RETURN_IF_ERROR(CheckValue(axis, value));
  Variant scaled = model;
  scaled.name = absl::StrCat(model.name, "-", ScaleAxisName(axis), "-", ValueText(axis, value));
  GRAB_ASSIGN_OR_RETURN(scaled.settings, SettingsAt(config, *model.kind, axis, value, time));
  return scaled;
}

}  // namespace grab
