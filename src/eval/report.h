// The evaluation of a score table: metrics per task, overall and per slice, as JSON and as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "eval/cold_rows.h"
#include "eval/metrics.h"
#include "eval/scores.h"
#include "nlohmann/json_fwd.hpp"

namespace grab {

// GAUC is by page when at least this share of the rows is in pages of both classes, else by user.
inline constexpr double kGaucPageShareMin = 0.1;

// Rows that share a value of a field.
struct SliceReport {
  std::string value;  // a range of history lengths, a key, "missing", or "rest (N values)"
  Metrics metrics;
  GaucResult gauc;  // grouped as TaskReport::gauc_by says
};

// What a user and an item were when the split began, as names of fields that no config can have.
inline constexpr char kUserAtStart[] = "user at start";
inline constexpr char kItemAtStart[] = "item at start";

struct FieldReport {
  // "history_len", a slice column, "split" when the table has several, kUserAtStart, kItemAtStart
  std::string field;
  std::vector<SliceReport> slices;
};

struct TaskReport {
  std::string task;
  uint64_t rows_unlabelled = 0;  // left out of all else
  Metrics metrics;
  GaucResult gauc_page;
  GaucResult gauc_user;
  std::string gauc_by;  // "page" or "user"
  std::vector<FieldReport> fields;

  const GaucResult& gauc() const { return gauc_by == "page" ? gauc_page : gauc_user; }
};

struct EvalReport {
  std::vector<TaskReport> tasks;  // in the table's order
};

// Evaluates all rows of `table`. Slices: history length by config.history_edges (strictly
// ascending; edge e closes the slice of lengths up to e), and every slice column of the table by
// its config.slice_values_max most frequent values, the others together. With `cold`, of the
// table's split and at most one field, the item: users and items that are new ("cold") and the
// others
// ("warm"). A column of config.slices that the table lacks is an InvalidArgument.
StatusOr<EvalReport> Evaluate(const ScoreTable& table, const EvalConfig& config,
                              const ColdRows* cold = nullptr);

// Evaluates the scores of all targets of `split`, cold and warm ones of config.item apart too.
// Where the targets have more than kColdValuesMax items, the slices of items are left out.
StatusOr<EvalReport> EvaluateTargets(const ShardSet& shards, Split split, const ScoreTable& table,
                                     const EvalConfig& config);

// {"tasks": [{"task", "rows", "positives", "clipped", "auc", "logloss", "ne", "pcoc", "gauc",
// "gauc_by", "gauc_page": {...}, "gauc_user": {...}, "fields": [{"field", "slices": [{"value",
// ...}]}]}]}; an undefined metric is null.
nlohmann::json ToJson(const EvalReport& report);

// A table with a line per task and slice; an undefined metric is "-".
std::string ToText(const EvalReport& report);

}  // namespace grab
