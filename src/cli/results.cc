#include "cli/results.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/progress.h"
#include "cli/json_file.h"
#include "cli/process.h"
#include "cli/text_table.h"
#include "eval/report.h"

namespace grab {
namespace {

using nlohmann::json;

// Of one member over the runs.
std::optional<double> Mean(const std::vector<RunMetrics>& runs,
                           std::optional<double> RunMetrics::*member) {
  double sum = 0.0;
  for (const RunMetrics& run : runs) {
    if (!(run.*member).has_value()) return std::nullopt;
    sum += *(run.*member);
  }
  return sum / static_cast<double>(runs.size());
}

using ColdWarmMember = std::optional<ColdWarm> RunMetrics::*;

RowsAuc Mean(const std::vector<RunMetrics>& runs, ColdWarmMember member, RowsAuc ColdWarm::*part) {
  RowsAuc mean = (*(runs[0].*member)).*part;
  double sum = 0.0;
  for (const RunMetrics& run : runs) {
    const RowsAuc& of_run = (*(run.*member)).*part;
    if (!of_run.auc.has_value()) return {mean.rows, std::nullopt};
    sum += *of_run.auc;
  }
  mean.auc = sum / static_cast<double>(runs.size());
  return mean;
}

std::optional<ColdWarm> Mean(const std::vector<RunMetrics>& runs, ColdWarmMember member) {
  for (const RunMetrics& run : runs) {
    if (!(run.*member).has_value()) return std::nullopt;
  }
  return ColdWarm{Mean(runs, member, &ColdWarm::cold), Mean(runs, member, &ColdWarm::warm)};
}

double Mean(const std::vector<RunMetrics>& runs, double RunMetrics::*member) {
  double sum = 0.0;
  for (const RunMetrics& run : runs) sum += run.*member;
  return sum / static_cast<double>(runs.size());
}

std::optional<double> AucSd(const std::vector<RunMetrics>& runs) {
  const std::optional<double> mean = Mean(runs, &RunMetrics::auc);
  if (runs.size() < 2 || !mean.has_value()) return std::nullopt;
  double squares = 0.0;
  for (const RunMetrics& run : runs) squares += (*run.auc - *mean) * (*run.auc - *mean);
  return std::sqrt(squares / static_cast<double>(runs.size() - 1));
}

StatusOr<RowsAuc> ReadRowsAuc(const JsonMembers& slice) {
  RowsAuc result;
  GRAB_ASSIGN_OR_RETURN(result.rows, slice.Count("rows"));
  GRAB_ASSIGN_OR_RETURN(result.auc, slice.Metric("auc"));
  return result;
}

// Of the slices "cold" and "warm" of a field.
StatusOr<ColdWarm> ReadColdWarm(const JsonMembers& field) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> slices, field.Objects("slices"));
  ColdWarm result;
  for (const JsonMembers& slice : slices) {
    GRAB_ASSIGN_OR_RETURN(const std::string value, slice.Text("value"));
    RowsAuc& part = value == "cold" ? result.cold : result.warm;
    GRAB_ASSIGN_OR_RETURN(part, ReadRowsAuc(slice));
  }
  return result;
}

Status ReadColdRows(const JsonMembers& test, RunMetrics& run) {
  if (!test.Has("fields")) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> fields, test.Objects("fields"));
  for (const JsonMembers& field : fields) {
    GRAB_ASSIGN_OR_RETURN(const std::string name, field.Text("field"));
    if (name != kUserAtStart && name != kItemAtStart) continue;
    std::optional<ColdWarm>& rows = name == kUserAtStart ? run.users : run.items;
    GRAB_ASSIGN_OR_RETURN(rows, ReadColdWarm(field));
  }
  return absl::OkStatus();
}

json ToJson(const ColdWarm& rows) {
  const auto part = [](const RowsAuc& of) {
    return json{{"rows", of.rows}, {"auc", OrNull(of.auc)}};
  };
  return {{"cold", part(rows.cold)}, {"warm", part(rows.warm)}};
}

}  // namespace

StatusOr<RunMetrics> ReadRunMetrics(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const json object, ReadJsonObject(path));
  const JsonMembers whole(path, "", object);
  RunMetrics run;
  GRAB_ASSIGN_OR_RETURN(run.model, whole.Text("model"));
  GRAB_ASSIGN_OR_RETURN(run.train_rows, whole.Count("train_rows"));
  GRAB_ASSIGN_OR_RETURN(run.tokens_per_second, whole.Number("tokens_per_second"));
  GRAB_ASSIGN_OR_RETURN(run.wall_seconds, whole.Number("wall_seconds"));
  GRAB_ASSIGN_OR_RETURN(run.test_rows, whole.Count("test_rows"));
  GRAB_ASSIGN_OR_RETURN(run.scores_per_second, whole.Number("scores_per_second"));
  GRAB_ASSIGN_OR_RETURN(run.dense_weights, whole.Count("dense_weights"));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers tables, whole.Object("tables"));
  GRAB_ASSIGN_OR_RETURN(run.table_rows, tables.Count("rows"));
  GRAB_ASSIGN_OR_RETURN(run.table_bytes, tables.Count("bytes"));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers test, whole.Object("test"));
  GRAB_ASSIGN_OR_RETURN(run.auc, test.Metric("auc"));
  GRAB_ASSIGN_OR_RETURN(run.gauc, test.Metric("gauc"));
  GRAB_ASSIGN_OR_RETURN(run.gauc_by, test.Text("gauc_by"));
  GRAB_ASSIGN_OR_RETURN(run.logloss, test.Metric("logloss"));
  GRAB_ASSIGN_OR_RETURN(run.ne, test.Metric("ne"));
  GRAB_ASSIGN_OR_RETURN(run.pcoc, test.Metric("pcoc"));
  GRAB_RETURN_IF_ERROR(ReadColdRows(test, run));
  if (whole.Has("test_frozen")) {
    GRAB_ASSIGN_OR_RETURN(const JsonMembers frozen, whole.Object("test_frozen"));
    GRAB_ASSIGN_OR_RETURN(run.auc_frozen, frozen.Metric("auc"));
    GRAB_ASSIGN_OR_RETURN(run.gauc_frozen, frozen.Metric("gauc"));
  }
  if (whole.Has("test_streaming")) {
    GRAB_ASSIGN_OR_RETURN(const JsonMembers streaming, whole.Object("test_streaming"));
    GRAB_ASSIGN_OR_RETURN(run.auc_streaming, streaming.Metric("auc"));
  }
  return run;
}

StatusOr<ModelResult> MeanOverSeeds(const std::vector<int64_t>& seeds,
                                    const std::vector<RunMetrics>& runs) {
  GRAB_CHECK(!runs.empty() && runs.size() == seeds.size());
  ModelResult result;
  result.seeds = seeds;
  result.mean = runs[0];
  for (const RunMetrics& run : runs) {
    if (run.model != runs[0].model || run.test_rows != runs[0].test_rows ||
        run.train_rows != runs[0].train_rows || run.gauc_by != runs[0].gauc_by) {
      return absl::InvalidArgumentError(
          absl::StrCat("runs of '", runs[0].model, "' (", runs[0].train_rows, " training and ",
                       runs[0].test_rows, " test rows) and of '", run.model, "' (", run.train_rows,
                       " and ", run.test_rows, ") cannot be averaged"));
    }
  }
  for (const auto member : {&RunMetrics::auc, &RunMetrics::gauc, &RunMetrics::logloss,
                            &RunMetrics::ne, &RunMetrics::pcoc, &RunMetrics::auc_frozen,
                            &RunMetrics::gauc_frozen, &RunMetrics::auc_streaming}) {
    result.mean.*member = Mean(runs, member);
  }
  for (const ColdWarmMember member : {&RunMetrics::users, &RunMetrics::items}) {
    result.mean.*member = Mean(runs, member);
  }
  result.mean.tokens_per_second = Mean(runs, &RunMetrics::tokens_per_second);
  result.mean.wall_seconds = Mean(runs, &RunMetrics::wall_seconds);
  result.mean.scores_per_second = Mean(runs, &RunMetrics::scores_per_second);
  for (const RunMetrics& run : runs) result.auc_by_seed.push_back(run.auc);
  result.auc_sd = AucSd(runs);
  return result;
}

StatusOr<double> ReadScoreParity(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const json object, ReadJsonObject(path));
  return JsonMembers(path, "", object).Number("score_parity_max_abs_diff");
}

json ToJson(const ModelResult& result) {
  const RunMetrics& mean = result.mean;
  json model = {{"model", mean.model},
                {"auc", OrNull(mean.auc)},
                {"gauc", OrNull(mean.gauc)},
                {"gauc_by", mean.gauc_by},
                {"logloss", OrNull(mean.logloss)},
                {"ne", OrNull(mean.ne)},
                {"pcoc", OrNull(mean.pcoc)},
                {"train_rows", mean.train_rows},
                {"test_rows", mean.test_rows},
                {"tokens_per_second", mean.tokens_per_second},
                {"wall_seconds", mean.wall_seconds},
                {"scores_per_second", mean.scores_per_second},
                {"dense_weights", mean.dense_weights},
                {"table_rows", mean.table_rows},
                {"table_bytes", mean.table_bytes},
                {"seeds", result.seeds}};
  for (const std::optional<double>& auc : result.auc_by_seed) {
    model["auc_by_seed"].push_back(OrNull(auc));
  }
  if (mean.auc_frozen.has_value()) model["auc_frozen"] = *mean.auc_frozen;
  if (mean.gauc_frozen.has_value()) model["gauc_frozen"] = *mean.gauc_frozen;
  if (mean.auc_streaming.has_value()) model["auc_streaming"] = *mean.auc_streaming;
  if (mean.users.has_value()) model["users"] = ToJson(*mean.users);
  if (mean.items.has_value()) model["items"] = ToJson(*mean.items);
  if (result.auc_sd.has_value()) model["auc_sd"] = *result.auc_sd;
  return model;
}

json ToJson(const Results& results) {
  json models = json::array();
  for (const ModelResult& result : results.models) models.push_back(ToJson(result));
  json object = {{"models", std::move(models)},
                 {"score_parity_max_abs_diff", results.score_parity_max_abs_diff},
                 {"hardware", {{"cpu", results.cpu}, {"threads", results.threads}}},
                 {"rows_hash", results.rows_hash}};
  if (results.true_auc.has_value()) object["true_auc"] = *results.true_auc;
  if (!results.commit.empty()) object["commit"] = results.commit;
  return object;
}

std::string ToText(const Results& results) {
  std::vector<std::vector<std::string>> rows = {{"model", "train rows", "test rows", "AUC", "GAUC",
                                                 "log-loss", "NE", "PCOC", "tokens/s",
                                                 "wall time"}};
  std::string notes;
  for (const ModelResult& result : results.models) {
    const RunMetrics& mean = result.mean;
    rows.push_back({mean.model, absl::StrCat(mean.train_rows), absl::StrCat(mean.test_rows),
                    Digits(mean.auc, 5), Digits(mean.gauc, 5), Digits(mean.logloss, 5),
                    Digits(mean.ne, 5), Digits(mean.pcoc, 4), HumanCount(mean.tokens_per_second),
                    HumanSeconds(mean.wall_seconds)});
    if (result.seeds.size() > 1) {
      absl::StrAppend(&notes, mean.model, ": mean of the seeds ", absl::StrJoin(result.seeds, ", "),
                      "; standard deviation of the AUC ", Digits(result.auc_sd, 5), "\n");
    }
    if (mean.gauc_by == "user" && mean.gauc_frozen.has_value()) {
      absl::StrAppend(&notes, mean.model, ": with histories frozen at the start of the test: AUC ",
                      Digits(mean.auc_frozen, 5), ", GAUC by user ", Digits(mean.gauc_frozen, 5),
                      "\n");
    }
  }
  if (results.true_auc.has_value()) {
    rows.push_back({"true probability", "", "", Digits(results.true_auc, 5)});
  }
  std::string out = TextTable(rows);
  if (!results.models.empty()) {
    absl::StrAppend(&out, "GAUC by ", results.models[0].mean.gauc_by, ".\n");
  }
  absl::StrAppend(&out, notes, "grab score reproduces the training side's test scores within ",
                  absl::StrFormat("%.2g", results.score_parity_max_abs_diff), ".\n");
  return out;
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(':');
    if (absl::StartsWith(line, "model name") && colon != std::string::npos) {
      return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
  }
  return "";
}

std::string CommitOf(const std::string& binary) {
  const StatusOr<std::string> commit = ReadProcess(
      {"git", "-C", binary.substr(0, binary.rfind('/')), "describe", "--always", "--dirty"});
  return commit.ok() ? std::string(absl::StripAsciiWhitespace(*commit)) : "";
}

}  // namespace grab
