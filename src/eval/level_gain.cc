#include "eval/level_gain.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "eval/metrics.h"

namespace grab {
namespace {

// The rows of one task, and the order of their requests.
struct Rows {
  TaskScores scores;                     // [n]
  std::vector<int64_t> request_time_ms;  // [n]
  std::vector<size_t> by_time;           // [n] indices into the above

  size_t size() const { return scores.row.size(); }
};

Rows OrderRows(const ScoreTable& table, size_t task) {
  Rows rows{ScoresOf(table, task), {}, {}};
  for (const size_t i : rows.scores.row) rows.request_time_ms.push_back(table.request_time_ms[i]);
  rows.by_time.resize(rows.size());
  std::iota(rows.by_time.begin(), rows.by_time.end(), size_t{0});
  std::stable_sort(rows.by_time.begin(), rows.by_time.end(), [&](size_t a, size_t b) {
    return rows.request_time_ms[a] < rows.request_time_ms[b];
  });
  return rows;
}

// What rows of one value say of its level.
struct Evidence {
  double residual = 0.0;   // sum of label - p
  double precision = 0.0;  // sum of p (1 - p)

  void Add(double p, uint8_t label) {
    residual += label - p;
    precision += p * (1.0 - p);
  }
  double Level(double prior) const { return residual / (prior + precision); }
};

// [n] of what is known of each row's value without the row itself.
struct KeyEvidence {
  std::vector<Evidence> before, hindsight;
  uint64_t values = 0;
};

KeyEvidence Gather(const Rows& rows, const std::vector<uint64_t>& value) {
  KeyEvidence gathered;
  gathered.before.resize(rows.size());
  gathered.hindsight.resize(rows.size());
  absl::flat_hash_map<uint64_t, Evidence> evidence;
  const std::vector<double>& p = rows.scores.p;
  const std::vector<uint8_t>& label = rows.scores.label;
  size_t known = 0;  // rows before it, by time, are in `evidence`
  for (const size_t i : rows.by_time) {
    for (; rows.request_time_ms[rows.by_time[known]] < rows.request_time_ms[i]; ++known) {
      const size_t j = rows.by_time[known];
      if (value[j] != 0) evidence[value[j]].Add(p[j], label[j]);
    }
    if (value[i] != 0) gathered.before[i] = evidence[value[i]];
  }
  for (; known < rows.size(); ++known) {
    const size_t j = rows.by_time[known];
    if (value[j] != 0) evidence[value[j]].Add(p[j], label[j]);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (value[i] == 0) continue;
    const Evidence& all = evidence[value[i]];
    Evidence own;
    own.Add(p[i], label[i]);
    gathered.hindsight[i] = {all.residual - own.residual, all.precision - own.precision};
  }
  gathered.values = evidence.size();
  return gathered;
}

void AddLevels(const std::vector<Evidence>& evidence, double prior,
               std::vector<double>& correction) {
  for (size_t i = 0; i < evidence.size(); ++i) correction[i] += evidence[i].Level(prior);
}

// nullopt: rows of one class.
StatusOr<std::optional<double>> AucOf(const TaskScores& scores,
                                      const std::vector<double>& correction) {
  std::vector<double> p(scores.p.size());
  for (size_t i = 0; i < p.size(); ++i) {
    const double logit = std::log(scores.p[i]) - std::log1p(-scores.p[i]) + correction[i];
    p[i] = 1.0 / (1.0 + std::exp(-logit));
  }
  GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(p, scores.label));
  return metrics.auc;
}

// The gain by one kind of evidence over `auc`; its corrections are added to `together`.
StatusOr<LevelGain> FindGain(const TaskScores& scores, const std::vector<Evidence>& evidence,
                             double auc, std::vector<double>& together) {
  LevelGain best;
  for (const double prior : kLevelPriors) {
    std::vector<double> correction(evidence.size());
    AddLevels(evidence, prior, correction);
    GRAB_ASSIGN_OR_RETURN(const std::optional<double> corrected, AucOf(scores, correction));
    if (*corrected - auc > best.auc) best = {*corrected - auc, prior};
  }
  if (best.prior.has_value()) AddLevels(evidence, *best.prior, together);
  return best;
}

std::vector<uint64_t> ValuesOf(const ScoreTable& table, const Rows& rows, size_t key) {
  std::vector<uint64_t> values;
  values.reserve(rows.size());
  for (const size_t i : rows.scores.row) {
    values.push_back(key == 0 ? table.user_key[i]
                              : table.slice_values[i * table.slices.size() + key - 1]);
  }
  return values;
}

nlohmann::json PriorToJson(const LevelGain& gain) {
  return gain.prior.has_value() ? nlohmann::json(*gain.prior) : nlohmann::json();
}

std::string GainText(const LevelGain& gain) {
  return gain.prior.has_value() ? absl::StrFormat("+%.5f (%.0f)", gain.auc, *gain.prior) : "none";
}

}  // namespace

StatusOr<std::optional<LevelReport>> ComputeLevelGains(const ScoreTable& table, size_t task) {
  const Rows rows = OrderRows(table, task);
  const TaskScores& scores = rows.scores;
  std::vector<double> before(rows.size()), hindsight(rows.size());
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, AucOf(scores, before));
  if (!auc.has_value()) return std::optional<LevelReport>();
  LevelReport report{table.tasks[task], *auc, {}};
  for (size_t key = 0; key <= table.slices.size(); ++key) {
    const KeyEvidence evidence = Gather(rows, ValuesOf(table, rows, key));
    KeyLevels levels{key == 0 ? "user" : table.slices[key - 1], evidence.values, {}, {}};
    GRAB_ASSIGN_OR_RETURN(levels.before, FindGain(scores, evidence.before, *auc, before));
    GRAB_ASSIGN_OR_RETURN(levels.hindsight, FindGain(scores, evidence.hindsight, *auc, hindsight));
    report.keys.push_back(std::move(levels));
  }
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc_before, AucOf(scores, before));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc_hindsight, AucOf(scores, hindsight));
  report.before_auc = *auc_before - *auc;
  report.hindsight_auc = *auc_hindsight - *auc;
  return std::make_optional(std::move(report));
}

nlohmann::json ToJson(const LevelReport& report) {
  nlohmann::json json = {
      {"task", report.task},
      {"auc", report.auc},
      {"keys", nlohmann::json::array()},
      {"together", {{"before", report.before_auc}, {"hindsight", report.hindsight_auc}}}};
  for (const KeyLevels& levels : report.keys) {
    json["keys"].push_back({{"key", levels.key},
                            {"values", levels.values},
                            {"before", levels.before.auc},
                            {"before_prior", PriorToJson(levels.before)},
                            {"hindsight", levels.hindsight.auc},
                            {"hindsight_prior", PriorToJson(levels.hindsight)}});
  }
  return json;
}

std::string ToText(const LevelReport& report) {
  constexpr char kLine[] = "    %-24s %10s  %-18s %s\n";
  std::string text =
      absl::StrFormat("  levels of %s, gain on AUC %.5f:\n", report.task, report.auc) +
      absl::StrFormat(kLine, "of each", "values", "by labels before", "by all others");
  for (const KeyLevels& levels : report.keys) {
    text += absl::StrFormat(kLine, levels.key, absl::StrCat(levels.values), GainText(levels.before),
                            GainText(levels.hindsight));
  }
  return text + absl::StrFormat(kLine, "all together", "",
                                absl::StrFormat("%+.5f", report.before_auc),
                                absl::StrFormat("%+.5f", report.hindsight_auc));
}

}  // namespace grab
