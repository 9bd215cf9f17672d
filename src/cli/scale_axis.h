// What `grab scale` varies, as settings of a model.
//
//   history  window_len of every channel. 0 is the model without history: a window of 0 shows a
//            candidate nothing but itself. DIN attends to all of its window (search.recent), the
//            models that search to no more recent events than it has. Training windows
//            (train.window_size) grow where they would cut what the window shows.
//   width    d_model; ffn_hidden, tokenizer_hidden and latent_width in proportion
//   depth    layers
//   data     the newest share of the time from the first to the last training target, by
//            train.from; what happened before is history still
//
// batch_tokens grows to twice the history that a batch reads again for its first target; below that
// it stays as it is: where history is longer, a step has fewer targets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/job.h"
#include "data/shard.h"

namespace grab {

enum class ScaleAxis : uint8_t { kHistory, kWidth, kDepth, kData };

inline constexpr ScaleAxis kScaleAxes[] = {ScaleAxis::kHistory, ScaleAxis::kWidth,
                                           ScaleAxis::kDepth, ScaleAxis::kData};

const char* ScaleAxisName(ScaleAxis axis);
// What a value is, for a chart: "events of history", ...
const char* ScaleAxisLabel(ScaleAxis axis);
StatusOr<ScaleAxis> ParseScaleAxis(const std::string& name);
std::vector<double> DefaultValues(ScaleAxis axis);
// "64", "0.125"
std::string ValueText(ScaleAxis axis, double value);

// nullopt: trees, which have no axis.
bool HasAxis(std::optional<ModelKind> kind, ScaleAxis axis);

// Request times of the training targets that a model trains on: from the first to the last. Without
// one an InvalidArgument.
struct TrainingTime {
  int64_t first_ms = 0;
  int64_t last_ms = 0;
};
StatusOr<TrainingTime> TrainingTimeOf(const ShardSet& shards, const TrainConfig& train);

// The model at a value of the axis, named MODEL-AXIS-VALUE. `time` is used by kData only. A value
// outside the axis, one that the model's heads do not divide, and a model without the axis are an
// InvalidArgument.
StatusOr<Variant> ScaledVariant(const Config& config, const Variant& model, ScaleAxis axis,
                                double value, const TrainingTime& time);

}  // namespace grab
