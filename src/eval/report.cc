#include "eval/report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace grab {
namespace {

// The labelled rows of one task, or those of a slice of it.
struct TaskRows {
  std::vector<size_t> row;  // in the table
  std::vector<double> p;
  std::vector<uint8_t> label;
  std::vector<uint64_t> page;
  std::vector<uint64_t> user;

  void Add(const ScoreTable& table, size_t task, size_t i) {
    row.push_back(i);
    p.push_back(static_cast<double>(table.p[i * table.tasks.size() + task]));
    label.push_back(static_cast<uint8_t>(table.labels[i] >> task & 1));
    page.push_back(table.page_id[i]);
    user.push_back(table.user_key[i]);
  }
};

// Slice `slice_of[i]` of `names` for each labelled row i.
struct Slicing {
  std::string field;
  std::vector<std::string> names;
  std::vector<uint32_t> slice_of;
};

Slicing SliceByHistory(const ScoreTable& table, const std::vector<int64_t>& edges,
                       const TaskRows& rows) {
  Slicing slicing{"history_len", {}, {}};
  for (size_t i = 0; i < edges.size(); ++i) {
    const int64_t first = i == 0 ? 0 : edges[i - 1] + 1;
    slicing.names.push_back(first == edges[i] ? absl::StrCat(first)
                                              : absl::StrCat(first, "-", edges[i]));
  }
  slicing.names.push_back(edges.empty() ? "all" : absl::StrCat(">", edges.back()));
  for (const size_t row : rows.row) {
    const int64_t length = table.history_len[row];
    slicing.slice_of.push_back(static_cast<uint32_t>(
        std::lower_bound(edges.begin(), edges.end(), length) - edges.begin()));
  }
  return slicing;
}

Slicing SliceBySplit(const ScoreTable& table, const TaskRows& rows) {
  Slicing slicing{"split", {"context", "train", "valid", "test"}, {}};
  for (const size_t row : rows.row) {
    slicing.slice_of.push_back(static_cast<uint32_t>(table.split[row]));
  }
  return slicing;
}

Slicing SliceByColumn(const ScoreTable& table, size_t column, size_t values_max,
                      const TaskRows& rows) {
  std::map<uint64_t, uint64_t> counts;
  const auto value = [&](size_t row) {
    return table.slice_values[row * table.slices.size() + column];
  };
  for (const size_t row : rows.row) ++counts[value(row)];
  std::vector<std::pair<uint64_t, uint64_t>> frequent(counts.begin(), counts.end());
  std::stable_sort(frequent.begin(), frequent.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  Slicing slicing{table.slices[column], {}, {}};
  std::map<uint64_t, uint32_t> slice_of_value;
  const size_t kept = std::min(frequent.size(), values_max);
  for (size_t i = 0; i < kept; ++i) {
    const uint64_t key = frequent[i].first;
    slicing.names.push_back(key == 0 ? "missing" : absl::StrCat(key));
    slice_of_value[key] = static_cast<uint32_t>(i);
  }
  if (kept < frequent.size()) {
    slicing.names.push_back(absl::StrCat("rest (", frequent.size() - kept, " values)"));
  }
  for (const size_t row : rows.row) {
    const auto found = slice_of_value.find(value(row));
    slicing.slice_of.push_back(found == slice_of_value.end() ? static_cast<uint32_t>(kept)
                                                             : found->second);
  }
  return slicing;
}

Slicing SliceByCold(const ScoreTable& table, const char* field,
                    const absl::flat_hash_set<ColdRows::Row>& cold, const TaskRows& rows) {
  Slicing slicing{field, {"cold", "warm"}, {}};
  for (const size_t row : rows.row) {
    const bool is_cold = cold.contains({table.user_key[row], table.event_id[row]});
    slicing.slice_of.push_back(is_cold ? 0 : 1);
  }
  return slicing;
}

StatusOr<FieldReport> EvaluateSlices(const ScoreTable& table, size_t task, bool by_page,
                                     const TaskRows& rows, const Slicing& slicing) {
  std::vector<TaskRows> parts(slicing.names.size());
  for (size_t i = 0; i < rows.row.size(); ++i) {
    parts[slicing.slice_of[i]].Add(table, task, rows.row[i]);
  }
  FieldReport report{slicing.field, {}};
  for (size_t s = 0; s < parts.size(); ++s) {
    const TaskRows& part = parts[s];
    GRAB_ASSIGN_OR_RETURN(Metrics metrics, ComputeMetrics(part.p, part.label));
    GRAB_ASSIGN_OR_RETURN(GaucResult gauc,
                          ComputeGauc(part.p, part.label, by_page ? part.page : part.user));
    report.slices.push_back({slicing.names[s], metrics, gauc});
  }
  return report;
}

std::vector<Slicing> MakeSlicings(const ScoreTable& table, const EvalConfig& config,
                                  const ColdRows* cold, const TaskRows& rows) {
  std::vector<Slicing> slicings = {SliceByHistory(table, config.history_edges, rows)};
  const bool several_splits =
      std::any_of(table.split.begin(), table.split.end(),
                  [&](const Split split) { return split != table.split[0]; });
  if (several_splits) slicings.push_back(SliceBySplit(table, rows));
  for (size_t s = 0; s < table.slices.size(); ++s) {
    slicings.push_back(SliceByColumn(table, s, static_cast<size_t>(config.slice_values_max), rows));
  }
  if (cold == nullptr) return slicings;
  slicings.push_back(SliceByCold(table, kUserAtStart, cold->of_new_users, rows));
  for (const auto& values : cold->of_new_values) {
    if (values.has_value()) slicings.push_back(SliceByCold(table, kItemAtStart, *values, rows));
  }
  return slicings;
}

StatusOr<TaskReport> EvaluateTask(const ScoreTable& table, size_t task, const EvalConfig& config,
                                  const ColdRows* cold) {
  TaskRows rows;
  for (size_t i = 0; i < table.rows(); ++i) {
    if ((table.labels_known[i] >> task & 1) != 0) rows.Add(table, task, i);
  }
  TaskReport report;
  report.task = table.tasks[task];
  report.rows_unlabelled = table.rows() - rows.row.size();
  GRAB_ASSIGN_OR_RETURN(report.metrics, ComputeMetrics(rows.p, rows.label));
  GRAB_ASSIGN_OR_RETURN(report.gauc_page, ComputeGauc(rows.p, rows.label, rows.page));
  GRAB_ASSIGN_OR_RETURN(report.gauc_user, ComputeGauc(rows.p, rows.label, rows.user));
  const bool by_page = report.gauc_page.rows_used > 0 &&
                       static_cast<double>(report.gauc_page.rows_used) >=
                           kGaucPageShareMin * static_cast<double>(report.gauc_page.rows);
  report.gauc_by = by_page ? "page" : "user";

  for (const Slicing& slicing : MakeSlicings(table, config, cold, rows)) {
    GRAB_ASSIGN_OR_RETURN(FieldReport field, EvaluateSlices(table, task, by_page, rows, slicing));
    report.fields.push_back(std::move(field));
  }
  return report;
}

Status CheckConfig(const ScoreTable& table, const EvalConfig& config) {
  const std::vector<int64_t>& edges = config.history_edges;
  for (size_t i = 0; i < edges.size(); ++i) {
    if (edges[i] < 0 || (i > 0 && edges[i] <= edges[i - 1])) {
      return absl::InvalidArgumentError(
          absl::StrCat("eval.history_edges: expected ascending lengths from 0, got ",
                       absl::StrJoin(edges, ", ")));
    }
  }
  for (const std::string& slice : config.slices) {
    if (std::find(table.slices.begin(), table.slices.end(), slice) == table.slices.end()) {
      return absl::InvalidArgumentError(absl::StrCat("eval.slices: the scores have no column '",
                                                     slice, "', only ",
                                                     absl::StrJoin(table.slices, ", ")));
    }
  }
  return absl::OkStatus();
}

nlohmann::json Number(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

nlohmann::json ToJson(const Metrics& metrics, const GaucResult& gauc) {
  return {{"rows", metrics.rows},       {"positives", metrics.positives},
          {"clipped", metrics.clipped}, {"auc", Number(metrics.auc)},
          {"gauc", Number(gauc.gauc)},  {"logloss", Number(metrics.logloss)},
          {"ne", Number(metrics.ne)},   {"pcoc", Number(metrics.pcoc)}};
}

nlohmann::json ToJson(const GaucResult& gauc) {
  return {{"gauc", Number(gauc.gauc)},
          {"rows", gauc.rows},
          {"rows_ungrouped", gauc.rows_ungrouped},
          {"rows_used", gauc.rows_used},
          {"groups", gauc.groups},
          {"groups_used", gauc.groups_used}};
}

std::string Cell(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.5f", *value) : "-";
}

std::string Line(absl::string_view name, const Metrics& metrics, const GaucResult& gauc) {
  return absl::StrFormat("%-32s %10d %10d %9s %9s %9s %9s %9s\n", name, metrics.rows,
                         metrics.positives, Cell(metrics.auc), Cell(gauc.gauc),
                         Cell(metrics.logloss), Cell(metrics.ne), Cell(metrics.pcoc));
}

}  // namespace

StatusOr<EvalReport> Evaluate(const ScoreTable& table, const EvalConfig& config,
                              const ColdRows* cold) {
  GRAB_RETURN_IF_ERROR(CheckConfig(table, config));
  EvalReport report;
  for (size_t task = 0; task < table.tasks.size(); ++task) {
    auto evaluated = EvaluateTask(table, task, config, cold);
    if (!evaluated.ok())
      return Annotate(evaluated.status(), absl::StrCat("task ", table.tasks[task]));
    report.tasks.push_back(std::move(evaluated).value());
  }
  return report;
}

StatusOr<EvalReport> EvaluateTargets(const ShardSet& shards, Split split, const ScoreTable& table,
                                     const EvalConfig& config) {
  std::vector<std::string> item;
  if (!config.item.empty()) item.push_back(config.item);
  GRAB_ASSIGN_OR_RETURN(const ColdRows cold, FindColdRows(shards, split, item));
  return Evaluate(table, config, &cold);
}

nlohmann::json ToJson(const EvalReport& report) {
  nlohmann::json tasks = nlohmann::json::array();
  for (const TaskReport& task : report.tasks) {
    nlohmann::json entry = ToJson(task.metrics, task.gauc());
    entry["task"] = task.task;
    entry["rows_unlabelled"] = task.rows_unlabelled;
    entry["gauc_by"] = task.gauc_by;
    entry["gauc_page"] = ToJson(task.gauc_page);
    entry["gauc_user"] = ToJson(task.gauc_user);
    entry["fields"] = nlohmann::json::array();
    for (const FieldReport& field : task.fields) {
      nlohmann::json slices = nlohmann::json::array();
      for (const SliceReport& slice : field.slices) {
        nlohmann::json row = ToJson(slice.metrics, slice.gauc);
        row["value"] = slice.value;
        slices.push_back(std::move(row));
      }
      entry["fields"].push_back({{"field", field.field}, {"slices", std::move(slices)}});
    }
    tasks.push_back(std::move(entry));
  }
  return {{"tasks", std::move(tasks)}};
}

std::string ToText(const EvalReport& report) {
  std::string text = absl::StrFormat("%-32s %10s %10s %9s %9s %9s %9s %9s\n", "", "rows",
                                     "positives", "auc", "gauc", "logloss", "ne", "pcoc");
  for (const TaskReport& task : report.tasks) {
    text +=
        Line(absl::StrCat(task.task, " (gauc by ", task.gauc_by, ")"), task.metrics, task.gauc());
    if (task.rows_unlabelled > 0) {
      absl::StrAppend(&text, "  without a label: ", task.rows_unlabelled, " rows, left out\n");
    }
    if (task.metrics.clipped > 0) {
      absl::StrAppend(&text, "  log-loss clipped p of ", task.metrics.clipped, " rows\n");
    }
    for (const FieldReport& field : task.fields) {
      for (const SliceReport& slice : field.slices) {
        text += Line(absl::StrCat("  ", field.field, " ", slice.value), slice.metrics, slice.gauc);
      }
    }
  }
  return text;
}

}  // namespace grab
