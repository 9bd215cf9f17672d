#include "cli/report_runs.h"

#include <algorithm>

#include "base/check.h"
#include "cli/json_file.h"

namespace grab {
namespace {

Status AddSlice(const JsonMembers& slice, FieldSlices& field) {
  GRAB_ASSIGN_OR_RETURN(std::string label, slice.Text("value"));
  GRAB_ASSIGN_OR_RETURN(const uint64_t rows, slice.Count("rows"));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, slice.Metric("auc"));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> pcoc, slice.Metric("pcoc"));
  field.labels.push_back(std::move(label));
  field.rows.push_back(rows);
  field.auc.push_back(auc);
  field.pcoc.push_back(pcoc);
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::vector<FieldSlices>> ReadFieldSlices(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json object, ReadJsonObject(path));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers test, JsonMembers(path, "", object).Object("test"));
  std::vector<FieldSlices> fields;
  if (!test.Has("fields")) return fields;
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> entries, test.Objects("fields"));
  for (const JsonMembers& entry : entries) {
    FieldSlices& field = fields.emplace_back();
    GRAB_ASSIGN_OR_RETURN(field.field, entry.Text("field"));
    GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> slices, entry.Objects("slices"));
    for (size_t s = 0; s < std::min(slices.size(), kSlicesShownMax); ++s) {
      GRAB_RETURN_IF_ERROR(AddSlice(slices[s], field));
    }
  }
  return fields;
}

StatusOr<TimeBins> TestTimeBins(const ScoreTable& table) {
  if (table.rows() == 0) return absl::InvalidArgumentError("expected test rows, there are none");
  const auto [first, last] =
      std::minmax_element(table.request_time_ms.begin(), table.request_time_ms.end());
  return MakeTimeBins(*first, *last, kTestTimeBinsMax);
}

StatusOr<ScoreCurves> ReduceScores(const ScoreTable& table, const TimeBins& bins) {
  std::vector<double> p;
  std::vector<uint8_t> label;
  std::vector<int64_t> time_ms;
  const int64_t end_ms = bins.Begin(bins.count);
  for (size_t i = 0; i < table.rows(); ++i) {
    if ((table.labels_known[i] & 1) == 0) continue;
    const int64_t request_ms = table.request_time_ms[i];
    if (request_ms < bins.begin_ms || request_ms >= end_ms) {
      return absl::InvalidArgumentError(
          absl::StrCat("event ", table.event_id[i], ": expected a request from ", bins.begin_ms,
                       " to ", end_ms, " ms as in the other runs, got ", request_ms));
    }
    p.push_back(table.p[i * table.tasks.size()]);
    label.push_back(table.labels[i] & 1);
    time_ms.push_back(request_ms);
  }
  ScoreCurves curves;
  curves.task = table.tasks[0];
  curves.calibration = CalibrationCurve(p, label, kCalibrationBins);
  GRAB_ASSIGN_OR_RETURN(curves.over_time, AucOverTime(bins, time_ms, p, label, kTestClassRowsMin));
  return curves;
}

OptionalSeries MeanOverRuns(absl::Span<const OptionalSeries> runs) {
  GRAB_CHECK(!runs.empty());
  OptionalSeries mean = runs[0];
  for (const OptionalSeries& run : runs.subspan(1)) {
    GRAB_CHECK(run.size() == mean.size());
    for (size_t i = 0; i < mean.size(); ++i) {
      mean[i] = mean[i] && run[i] ? std::optional<double>(*mean[i] + *run[i]) : std::nullopt;
    }
  }
  for (std::optional<double>& value : mean) {
    if (value.has_value()) *value /= static_cast<double>(runs.size());
  }
  return mean;
}

}  // namespace grab
