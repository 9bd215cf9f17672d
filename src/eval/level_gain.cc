#include "eval/level_gain.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "eval/metrics.h"

namespace grab {
namespace {

// Rows with a known label of one task, in order of request time.
struct Rows {
  std::vector<size_t> row;  // [n] of the table
  std::vector<int64_t> request_time_ms;
  std::vector<double> p;
  std::vector<uint8_t> label;

  size_t size() const { return row.size(); }
};

Rows KnownRows(const ScoreTable& table, size_t task) {
  Rows rows;
  for (size_t i = 0; i < table.rows(); ++i) {
    if ((table.labels_known[i] >> task & 1) != 0) rows.row.push_back(i);
  }
  std::stable_sort(rows.row.begin(), rows.row.end(), [&](size_t a, size_t b) {
    return table.request_time_ms[a] < table.request_time_ms[b];
  });
  for (const size_t i : rows.row) {
    rows.request_time_ms.push_back(table.request_time_ms[i]);
    rows.p.push_back(table.p[i * table.tasks.size() + task]);
    rows.label.push_back(static_cast<uint8_t>(table.labels[i] >> task & 1));
  }
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
using EvidenceByValue = absl::flat_hash_map<uint64_t, Evidence>;

// [n] of what is known of each row's value without the row itself.
struct KeyEvidence {
  std::vector<Evidence> before, hindsight;
  uint64_t values = 0;
};

KeyEvidence Gather(const Rows& rows, const std::vector<uint64_t>& value) {
  KeyEvidence gathered;
  gathered.before.resize(rows.size());
  gathered.hindsight.resize(rows.size());
  EvidenceByValue evidence;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    for (; end < rows.size() && rows.request_time_ms[end] == rows.request_time_ms[begin]; ++end) {
      if (value[end] != 0) gathered.before[end] = evidence[value[end]];
    }
    for (size_t i = begin; i < end; ++i) {
      if (value[i] != 0) evidence[value[i]].Add(rows.p[i], rows.label[i]);
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (value[i] == 0) continue;
    const Evidence& all = evidence[value[i]];
    Evidence own;
    own.Add(rows.p[i], rows.label[i]);
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
StatusOr<std::optional<double>> AucOf(const Rows& rows, const std::vector<double>& correction) {
  std::vector<double> p(rows.size());
  for (size_t i = 0; i < p.size(); ++i) {
    const double logit = std::log(rows.p[i]) - std::log1p(-rows.p[i]) + correction[i];
    p[i] = 1.0 / (1.0 + std::exp(-logit));
  }
  GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(p, rows.label));
  return metrics.auc;
}

// The best prior of one kind of evidence, and what it gains over `auc`.
Status FindPrior(const Rows& rows, const std::vector<Evidence>& evidence, double auc, double& gain,
                 std::optional<double>& best) {
  for (const double prior : kLevelPriors) {
    std::vector<double> correction(rows.size());
    AddLevels(evidence, prior, correction);
    GRAB_ASSIGN_OR_RETURN(const std::optional<double> corrected, AucOf(rows, correction));
    if (*corrected - auc <= gain) continue;
    gain = *corrected - auc;
    best = prior;
  }
  return absl::OkStatus();
}

std::vector<uint64_t> ValuesOf(const ScoreTable& table, const Rows& rows, size_t key) {
  std::vector<uint64_t> values;
  values.reserve(rows.size());
  for (const size_t i : rows.row) {
    values.push_back(key == 0 ? table.user_key[i]
                              : table.slice_values[i * table.slices.size() + key - 1]);
  }
  return values;
}

nlohmann::json PriorToJson(const std::optional<double>& prior) {
  return prior.has_value() ? nlohmann::json(*prior) : nlohmann::json();
}

std::string GainText(double gain, const std::optional<double>& prior) {
  return prior.has_value() ? absl::StrFormat("+%.5f (%.0f)", gain, *prior) : "none";
}

}  // namespace

StatusOr<std::optional<LevelReport>> ComputeLevelGains(const ScoreTable& table, size_t task) {
  GRAB_CHECK(task < table.tasks.size());
  const Rows rows = KnownRows(table, task);
  std::vector<double> before(rows.size()), hindsight(rows.size());
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, AucOf(rows, before));
  if (!auc.has_value()) return std::optional<LevelReport>();
  LevelReport report{table.tasks[task], *auc, {}, {}};
  for (size_t key = 0; key <= table.slices.size(); ++key) {
    const KeyEvidence evidence = Gather(rows, ValuesOf(table, rows, key));
    KeyLevels levels{key == 0 ? "user" : table.slices[key - 1], evidence.values, {}};
    LevelGain& gain = levels.gain;
    GRAB_RETURN_IF_ERROR(FindPrior(rows, evidence.before, *auc, gain.before, gain.before_prior));
    GRAB_RETURN_IF_ERROR(
        FindPrior(rows, evidence.hindsight, *auc, gain.hindsight, gain.hindsight_prior));
    if (gain.before_prior) AddLevels(evidence.before, *gain.before_prior, before);
    if (gain.hindsight_prior) AddLevels(evidence.hindsight, *gain.hindsight_prior, hindsight);
    report.keys.push_back(std::move(levels));
  }
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc_before, AucOf(rows, before));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc_hindsight, AucOf(rows, hindsight));
  report.together.before = *auc_before - *auc;
  report.together.hindsight = *auc_hindsight - *auc;
  return std::make_optional(std::move(report));
}

nlohmann::json ToJson(const LevelReport& report) {
  nlohmann::json json = {
      {"task", report.task},
      {"auc", report.auc},
      {"keys", nlohmann::json::array()},
      {"together", {{"before", report.together.before}, {"hindsight", report.together.hindsight}}}};
  for (const KeyLevels& levels : report.keys) {
    json["keys"].push_back({{"key", levels.key},
                            {"values", levels.values},
                            {"before", levels.gain.before},
                            {"before_prior", PriorToJson(levels.gain.before_prior)},
                            {"hindsight", levels.gain.hindsight},
                            {"hindsight_prior", PriorToJson(levels.gain.hindsight_prior)}});
  }
  return json;
}

std::string ToText(const LevelReport& report) {
  std::string text =
      absl::StrFormat("  levels of %s, gain on AUC %.5f:\n    %-24s %10s  %-18s %s\n", report.task,
                      report.auc, "of each", "values", "by labels before", "by all others");
  for (const KeyLevels& levels : report.keys) {
    absl::StrAppend(&text,
                    absl::StrFormat("    %-24s %10d  %-18s %s\n", levels.key, levels.values,
                                    GainText(levels.gain.before, levels.gain.before_prior),
                                    GainText(levels.gain.hindsight, levels.gain.hindsight_prior)));
  }
  absl::StrAppend(&text, absl::StrFormat("    %-24s %10s  %-18s %s\n", "all together", "",
                                         absl::StrFormat("%+.5f", report.together.before),
                                         absl::StrFormat("%+.5f", report.together.hindsight)));
  return text;
}

}  // namespace grab
