// One training run reduced to what `grab report` draws, and means over the seeds of a model.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "eval/curves.h"
#include "eval/scores.h"

namespace grab {

inline constexpr size_t kCalibrationBins = 20;
inline constexpr size_t kTestTimeBinsMax = 30;
inline constexpr uint64_t kTestClassRowsMin = 10;  // per time bin, of each class
inline constexpr size_t kSlicesShownMax = 30;      // of one field

using OptionalSeries = std::vector<std::optional<double>>;  // nullopt: undefined there

// Test metrics by the slices of a field; all vectors have one element per slice.
struct FieldSlices {
  std::string field;                // "history_len" or a sliced field
  std::vector<std::string> labels;  // as metrics.json has them
  std::vector<uint64_t> rows;
  OptionalSeries auc;
  OptionalSeries pcoc;
};

// The "fields" of "test" in the metrics.json of a run, of each the first kSlicesShownMax slices.
// Without "fields" empty. Errors name file and member.
StatusOr<std::vector<FieldSlices>> ReadFieldSlices(const std::string& path);

struct ScoreCurves {
  std::string task;  // the first of the table; rows without its label are left out
  std::vector<CalibrationPoint> calibration;  // kCalibrationBins, or one per row if there are fewer
  std::vector<AucPoint> over_time;
};

// The bins of a table's rows. No rows, or times that are none, are an InvalidArgument.
StatusOr<TimeBins> TestTimeBins(const ScoreTable& table);

// A row outside `bins` is an InvalidArgument.
StatusOr<ScoreCurves> ReduceScores(const ScoreTable& table, const TimeBins& bins);

// Element by element; undefined where it is for one of them. `runs` is not empty and all are of one
// length.
OptionalSeries MeanOverRuns(absl::Span<const OptionalSeries> runs);

}  // namespace grab
