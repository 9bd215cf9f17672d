#include "cli/report_training.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_split.h"
#include "cli/json_file.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr char kTableStage[] = "sparse";

struct StepLine {
  TrainingPoint point;
  bool tables_only = false;
};

struct LogLines {
  std::map<int64_t, StepLine> steps;
  std::map<int64_t, TrainingPoint> validations;
};

Status AddStep(const JsonMembers& line, LogLines& lines) {
  GRAB_ASSIGN_OR_RETURN(const int64_t step, line.Integer("step"));
  StepLine& added = lines.steps[step];
  GRAB_ASSIGN_OR_RETURN(const std::string stage, line.Text("stage"));
  added.tables_only = stage == kTableStage;
  GRAB_ASSIGN_OR_RETURN(added.point.rows, line.Number("targets"));
  GRAB_ASSIGN_OR_RETURN(added.point.value, line.Number("loss"));
  return absl::OkStatus();
}

Status AddValidation(const JsonMembers& line, LogLines& lines) {
  GRAB_ASSIGN_OR_RETURN(const int64_t step, line.Integer("step"));
  GRAB_ASSIGN_OR_RETURN(const double rows, line.Number("targets"));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers metrics, line.Object("metrics"));
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> tasks, metrics.Objects("tasks"));
  if (tasks.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, tasks[0].Metric("auc"));
  if (auc.has_value()) lines.validations[step] = {rows, *auc};
  return absl::OkStatus();
}

Status AddLine(absl::string_view text, const std::string& place, LogLines& lines) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return absl::DataLossError(absl::StrCat(place, ": expected JSON"));
  const JsonMembers line(place, "", object);
  GRAB_ASSIGN_OR_RETURN(const std::string event, line.Text("event"));
  if (event == "step") return AddStep(line, lines);
  return event == "validation" ? AddValidation(line, lines) : absl::OkStatus();
}

std::vector<TrainingPoint> Thin(const std::vector<TrainingPoint>& points) {
  std::vector<TrainingPoint> thin(std::min(points.size(), kTrainingPointsMax));
  for (size_t t = 0; t < thin.size(); ++t) {
    const size_t begin = t * points.size() / thin.size();
    const size_t end = (t + 1) * points.size() / thin.size();
    for (size_t i = begin; i < end; ++i) thin[t].value += points[i].value;
    thin[t].value /= static_cast<double>(end - begin);
    thin[t].rows = points[end - 1].rows;
  }
  return thin;
}

}  // namespace

StatusOr<TrainingCurves> ParseRunLog(absl::string_view text, const std::string& file) {
  LogLines lines;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    GRAB_RETURN_IF_ERROR(AddLine(line, absl::StrCat(file, ":", number), lines));
  }
  TrainingCurves curves;
  std::vector<TrainingPoint> loss, valid_auc;
  for (const auto& [step, line] : lines.steps) {
    if (line.tables_only) {
      ++curves.table_steps;
    } else {
      loss.push_back(line.point);
    }
  }
  for (const auto& [step, point] : lines.validations) valid_auc.push_back(point);
  curves.loss = Thin(loss);
  curves.valid_auc = Thin(valid_auc);
  return curves;
}

}  // namespace grab
