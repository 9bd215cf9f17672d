#include "eval/progressive.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/file.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr uint64_t kPassesBytesMax = 256 << 20;
constexpr double kMsPerDay = 86400000.0;

using Metric = std::optional<double> PassTask::*;
constexpr std::pair<const char*, Metric> kMetrics[] = {{"auc", &PassTask::auc},
                                                       {"logloss", &PassTask::logloss},
                                                       {"ne", &PassTask::ne},
                                                       {"pcoc", &PassTask::pcoc},
                                                       {"gauc", &PassTask::gauc}};

json ToJson(const PassMetrics& metrics) {
  json tasks = json::array();
  for (const PassTask& task : metrics.tasks) {
    json entry = {{"task", task.task},
                  {"rows", task.rows},
                  {"positives", task.positives},
                  {"gauc_by", task.gauc_by}};
    for (const auto& [key, metric] : kMetrics) {
      const std::optional<double>& value = task.*metric;
      entry[key] = value.has_value() ? json(*value) : json(nullptr);
    }
    tasks.push_back(std::move(entry));
  }
  return {{"from_ms", metrics.pass.from_ms},
          {"to_ms", metrics.pass.to_ms},
          {"rows", metrics.rows},
          {"tasks", std::move(tasks)}};
}

// What is wrong with a line, or empty.
std::string ParseTask(const json& object, PassTask& task) {
  if (!object.is_object()) return "a task should be an object";
  for (const auto& [key, text] :
       {std::pair{"task", &task.task}, std::pair{"gauc_by", &task.gauc_by}}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) return absl::StrCat(key, " should be text");
    *text = found->get<std::string>();
  }
  for (const auto& [key, count] :
       {std::pair{"rows", &task.rows}, std::pair{"positives", &task.positives}}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned()) {
      return absl::StrCat(key, " should be a whole number");
    }
    *count = found->get<uint64_t>();
  }
  for (const auto& [key, metric] : kMetrics) {
    const auto found = object.find(key);
    if (found == object.end() || !(found->is_number() || found->is_null())) {
      return absl::StrCat(key, " should be a number or null");
    }
    if (found->is_number()) task.*metric = found->get<double>();
  }
  return "";
}

std::string ParsePass(const std::string& line, PassMetrics& metrics) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return "expected a JSON object";
  for (const char* key : {"from_ms", "to_ms", "rows"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned()) {
      return absl::StrCat(key, " should be a whole number");
    }
  }
  metrics.pass = {object["from_ms"].get<int64_t>(), object["to_ms"].get<int64_t>()};
  metrics.rows = object["rows"].get<uint64_t>();
  if (metrics.pass.from_ms >= metrics.pass.to_ms) return "from_ms should lie before to_ms";
  const auto tasks = object.find("tasks");
  if (tasks == object.end() || !tasks->is_array()) return "tasks should be a list";
  for (const json& entry : *tasks) {
    const std::string problem = ParseTask(entry, metrics.tasks.emplace_back());
    if (!problem.empty()) return problem;
  }
  return "";
}

// Tasks in the order in which they first appear.
std::vector<std::string> TaskNames(const std::vector<PassMetrics>& passes) {
  std::vector<std::string> names;
  for (const PassMetrics& pass : passes) {
    for (const PassTask& task : pass.tasks) {
      if (std::find(names.begin(), names.end(), task.task) == names.end()) {
        names.push_back(task.task);
      }
    }
  }
  return names;
}

double Days(int64_t from_ms, int64_t to_ms) {
  return static_cast<double>(to_ms - from_ms) / kMsPerDay;
}

LineChart OverTime(const std::vector<PassMetrics>& passes, const char* name, Metric metric) {
  LineChart chart;
  chart.title = absl::StrCat(name, " of each pass before it is trained on");
  chart.y_label = name;
  if (passes.empty()) return chart;
  const int64_t start_ms = passes.front().pass.from_ms;
  chart.x_label = absl::StrCat(
      "days since ",
      absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixMillis(start_ms), absl::UTCTimeZone()),
      " UTC, at the end of each pass");
  for (const std::string& name_of_task : TaskNames(passes)) {
    ChartSeries series;
    series.name = name_of_task;
    for (const PassMetrics& pass : passes) {
      const auto task =
          std::find_if(pass.tasks.begin(), pass.tasks.end(),
                       [&](const PassTask& other) { return other.task == name_of_task; });
      series.x.push_back(Days(start_ms, pass.pass.to_ms));
      series.y.push_back(
          task == pass.tasks.end()
              ? std::numeric_limits<double>::quiet_NaN()
              : ((*task).*metric).value_or(std::numeric_limits<double>::quiet_NaN()));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

}  // namespace

PassMetrics MakePassMetrics(const TimeRange& pass, const EvalReport& report) {
  PassMetrics metrics{pass, 0, {}};
  for (const TaskReport& task : report.tasks) {
    metrics.rows = task.metrics.rows + task.rows_unlabelled;
    metrics.tasks.push_back({task.task, task.metrics.rows, task.metrics.positives, task.metrics.auc,
                             task.metrics.logloss, task.metrics.ne, task.metrics.pcoc,
                             task.gauc().gauc, task.gauc_by});
  }
  return metrics;
}

StatusOr<std::vector<PassMetrics>> ReadPasses(const std::string& path) {
  std::vector<PassMetrics> passes;
  if (!Exists(path)) return passes;
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kPassesBytesMax));
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    if (line.empty()) continue;
    PassMetrics metrics;
    std::string problem = ParsePass(line, metrics);
    if (problem.empty() && !passes.empty() && metrics.pass.from_ms < passes.back().pass.to_ms) {
      problem = "passes should ascend without overlap";
    }
    if (!problem.empty()) {
      return absl::DataLossError(absl::StrCat(path, ": pass ", passes.size() + 1, ": ", problem,
                                              ", got ", line.substr(0, 200)));
    }
    passes.push_back(std::move(metrics));
  }
  return passes;
}

Status RecordPass(const std::string& path, const PassMetrics& metrics) {
  GRAB_ASSIGN_OR_RETURN(std::vector<PassMetrics> passes, ReadPasses(path));
  std::erase_if(passes, [&](const PassMetrics& other) { return other.pass == metrics.pass; });
  const auto next = std::find_if(passes.begin(), passes.end(), [&](const PassMetrics& other) {
    return other.pass.to_ms > metrics.pass.from_ms;
  });
  if (next != passes.end() && next->pass.from_ms < metrics.pass.to_ms) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": the pass [", metrics.pass.from_ms, ", ", metrics.pass.to_ms, ") overlaps [",
        next->pass.from_ms, ", ", next->pass.to_ms,
        ") of before: follow.from or follow.range_s has changed; name another folder"));
  }
  passes.insert(next, metrics);
  std::string text;
  for (const PassMetrics& pass : passes) {
    absl::StrAppend(&text, ToJson(pass).dump(-1, ' ', false, json::error_handler_t::replace), "\n");
  }
  return WriteFileDurably(path, text);
}

LineChart AucOverTime(const std::vector<PassMetrics>& passes) {
  return OverTime(passes, "AUC", &PassTask::auc);
}

LineChart PcocOverTime(const std::vector<PassMetrics>& passes) {
  LineChart chart = OverTime(passes, "PCOC", &PassTask::pcoc);
  if (passes.empty()) return chart;
  const int64_t start_ms = passes.front().pass.from_ms;
  chart.series.push_back(
      {"1: as many as predicted",
       {Days(start_ms, passes.front().pass.to_ms), Days(start_ms, passes.back().pass.to_ms)},
       {1.0, 1.0},
       true});
  return chart;
}

}  // namespace grab
