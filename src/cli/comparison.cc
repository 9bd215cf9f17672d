#include "cli/comparison.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/progress.h"
#include "cli/text_table.h"

namespace grab {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

// AUC less the reference's, of the seeds that both have.
std::vector<double> Differences(const ModelResult& model, const ModelResult& reference) {
  std::vector<double> differences;
  for (size_t i = 0; i < model.seeds.size(); ++i) {
    const auto same = std::find(reference.seeds.begin(), reference.seeds.end(), model.seeds[i]);
    if (same == reference.seeds.end()) continue;
    const auto& other = reference.auc_by_seed[static_cast<size_t>(same - reference.seeds.begin())];
    if (model.auc_by_seed[i].has_value() && other.has_value()) {
      differences.push_back(*model.auc_by_seed[i] - *other);
    }
  }
  return differences;
}

std::string Signed(double value) { return absl::StrFormat("%+.5f", value); }

std::string PText(const std::optional<double>& p) {
  if (!p.has_value()) return "-";
  return *p < 0.0001 ? "< .0001" : absl::StrFormat("%.4f", *p);
}

Rows TableRows(const Comparison& comparison) {
  Rows rows = {{"model", "seeds", "AUC", "±", "- " + comparison.reference, "p", "± users",
                "streaming", "GAUC", "log-loss", "PCOC", "dense weights", "table MB", "training",
                "scores/s"}};
  for (const ComparedModel& model : comparison.models) {
    const RunMetrics& mean = model.result.mean;
    const auto& difference = model.auc_minus_reference;
    rows.push_back({mean.model, absl::StrCat(model.result.seeds.size()), Digits(mean.auc, 5),
                    Digits(model.result.auc_sd, 5), difference ? Signed(difference->mean) : "",
                    difference ? PText(difference->p) : "",
                    model.users_95 ? Digits(model.users_95, 5) : "",
                    mean.auc_streaming ? Digits(mean.auc_streaming, 5) : "", Digits(mean.gauc, 5),
                    Digits(mean.logloss, 5), Digits(mean.pcoc, 4),
                    HumanCount(static_cast<double>(mean.dense_weights)),
                    absl::StrFormat("%.1f", static_cast<double>(mean.table_bytes) / 1e6),
                    HumanSeconds(mean.wall_seconds), HumanCount(mean.scores_per_second)});
  }
  return rows;
}

// Models may be trained on different shares of the rows.
std::string TrainRows(const Comparison& comparison) {
  const auto [least, most] =
      std::minmax_element(comparison.models.begin(), comparison.models.end(),
                          [](const ComparedModel& a, const ComparedModel& b) {
                            return a.result.mean.train_rows < b.result.mean.train_rows;
                          });
  const uint64_t low = least->result.mean.train_rows, high = most->result.mean.train_rows;
  return low == high ? absl::StrCat(low) : absl::StrCat(low, " to ", high);
}

// AUC of what was new when the test began, and of the rest; empty where no run tells them apart.
Rows ColdTableRows(const Comparison& comparison) {
  constexpr std::optional<ColdWarm> RunMetrics::*kKinds[] = {&RunMetrics::users,
                                                             &RunMetrics::items};
  constexpr RowsAuc ColdWarm::*kParts[] = {&ColdWarm::cold, &ColdWarm::warm};
  Rows rows = {{"cold and warm", "cold users", "warm users", "cold items", "warm items"}};
  std::vector<std::string> counts = {"test rows", "", "", "", ""};
  bool any = false;
  for (const ComparedModel& model : comparison.models) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(model.result.mean.model);
    for (const auto kind : kKinds) {
      const std::optional<ColdWarm>& of_kind = model.result.mean.*kind;
      for (const auto part : kParts) {
        row.push_back(of_kind ? Digits(((*of_kind).*part).auc, 5) : "");
        if (of_kind) counts[row.size() - 1] = absl::StrCat(((*of_kind).*part).rows);
      }
      any |= of_kind.has_value();
    }
  }
  if (!any) return {};
  rows.push_back(std::move(counts));
  return rows;
}

std::string Notes(const Comparison& comparison) {
  std::string notes;
  if (!comparison.models.empty()) {
    const RunMetrics& first = comparison.models[0].result.mean;
    absl::StrAppend(
        &notes, TrainRows(comparison), " training and ", first.test_rows, " test rows, hash ",
        comparison.rows_hash, "; GAUC by ", first.gauc_by,
        "; AUC and its standard deviation over seeds, p of a paired t-test over them, "
        "two-sided; ± users: the 95 % interval of the difference over samples of as many test "
        "users. Streaming: AUC when each slice of the test is trained on after it was "
        "scored.\n");
  }
  for (const std::string& remark : comparison.remarks) absl::StrAppend(&notes, remark, "\n");
  for (const FailedRun& failed : comparison.failed) {
    absl::StrAppend(&notes, "failed: ", failed.model, ", seed ", failed.seed, ": ", failed.error,
                    "\n");
  }
  return notes;
}

Rows CheckTableRows(const Comparison& comparison) {
  Rows rows = {{"check", "", "value", "bound", "of"}};
  for (const Check& check : comparison.checks) {
    rows.push_back({check.name, check.ok ? "ok" : "FAILED", absl::StrFormat("%.5g", check.value),
                    absl::StrFormat("%.5g", check.bound), check.what});
  }
  return rows;
}

std::string MarkdownTable(const Rows& rows) {
  std::string out;
  for (size_t i = 0; i < rows.size(); ++i) {
    absl::StrAppend(&out, "| ", absl::StrJoin(rows[i], " | "), " |\n");
    if (i > 0) continue;
    for (size_t c = 0; c < rows[0].size(); ++c) absl::StrAppend(&out, "|---");
    absl::StrAppend(&out, "|\n");
  }
  return out;
}

}  // namespace

const ComparedModel* FindModel(const Comparison& comparison, const std::string& name) {
  for (const ComparedModel& model : comparison.models) {
    if (model.result.mean.model == name) return &model;
  }
  return nullptr;
}

void CompareWithReference(Comparison& comparison) {
  const ComparedModel* reference = FindModel(comparison, comparison.reference);
  if (reference == nullptr) return;
  for (ComparedModel& model : comparison.models) {
    if (&model == reference) continue;
    const std::vector<double> differences = Differences(model.result, reference->result);
    if (!differences.empty()) model.auc_minus_reference = PairedTTest(differences);
  }
}

json ToJson(const Comparison& comparison) {
  json models = json::array();
  for (const ComparedModel& model : comparison.models) {
    json object = ToJson(model.result);
    if (const auto& difference = model.auc_minus_reference) {
      object["auc_minus_reference"] = {{"mean", difference->mean}};
      if (difference->sd.has_value()) object["auc_minus_reference"]["sd"] = *difference->sd;
      if (difference->p.has_value()) object["auc_minus_reference"]["p"] = *difference->p;
      if (model.users_95.has_value()) object["auc_minus_reference"]["users_95"] = *model.users_95;
    }
    models.push_back(std::move(object));
  }
  json failed = json::array();
  for (const FailedRun& run : comparison.failed) {
    failed.push_back({{"model", run.model}, {"seed", run.seed}, {"error", run.error}});
  }
  json checks = json::array();
  for (const Check& check : comparison.checks) {
    checks.push_back({{"name", check.name},
                      {"ok", check.ok},
                      {"value", check.value},
                      {"bound", check.bound},
                      {"what", check.what}});
  }
  json object = {{"reference", comparison.reference},
                 {"models", std::move(models)},
                 {"failed", std::move(failed)},
                 {"checks", std::move(checks)},
                 {"hardware", {{"cpu", comparison.cpu}, {"threads", comparison.threads}}},
                 {"rows_hash", comparison.rows_hash}};
  if (!comparison.commit.empty()) object["commit"] = comparison.commit;
  return object;
}

std::string ToText(const Comparison& comparison) {
  std::string out = TextTable(TableRows(comparison)) + Notes(comparison);
  const Rows cold = ColdTableRows(comparison);
  if (!cold.empty()) absl::StrAppend(&out, "\n", TextTable(cold));
  if (!comparison.checks.empty()) {
    absl::StrAppend(&out, "\n", TextTable(CheckTableRows(comparison)));
  }
  return out;
}

std::string ToMarkdown(const Comparison& comparison) {
  std::string out = MarkdownTable(TableRows(comparison));
  const Rows cold = ColdTableRows(comparison);
  if (!cold.empty()) absl::StrAppend(&out, "\n", MarkdownTable(cold));
  if (!comparison.checks.empty()) {
    absl::StrAppend(&out, "\n", MarkdownTable(CheckTableRows(comparison)));
  }
  return absl::StrCat(out, "\n", Notes(comparison));
}

}  // namespace grab
