#include "bench/training/modes.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "base/file.h"
#include "cli/process.h"

namespace grab::bench {
namespace {

constexpr uint64_t kLogBytesMax = 256 << 20;
constexpr int kValidations = 20;  // per pass: how finely "rows to pass the DLRM" is seen

// One training run of a way; a way is its last run, the earlier ones prepare it.
struct Way {
  std::string name;
  std::string rows;  // "all", "old", "new"
  std::string model;
  std::vector<std::string> settings;  // of [MODEL.train]
  std::string warm_start;             // another way of the same seed
  bool reported = true;
};

std::vector<Way> Ways() {
  return {
      {"DLRM", "all", "dlrm", {}, ""},
      {"end to end", "all", "grab", {"mode=end_to_end"}, ""},
      {"sts", "all", "grab", {"mode=sts"}, ""},
      {"sts packed", "all", "grab", {"mode=sts_packed"}, ""},
      {"old DLRM", "old", "dlrm", {}, "", false},
      {"end to end, cold", "new", "grab", {"mode=end_to_end"}, ""},
      {"end to end, warm", "new", "grab", {"mode=end_to_end"}, "old DLRM"},
      {"sts, cold", "new", "grab", {"mode=sts"}, ""},
      {"sts, warm", "new", "grab", {"mode=sts"}, "old DLRM"},
      {"sts, warm, dual loss", "new", "grab", {"mode=sts", "dual_loss.weight=1"}, "old DLRM"},
      {"pre-training",
       "old",
       "grab",
       {"mode=end_to_end", "objective=next_item"},
       "old DLRM",
       false},
      {"sts, warm, pre-trained", "new", "grab", {"mode=sts"}, "pre-training"},
  };
}

std::string FolderOf(const ModesOptions& options, const std::string& way, int64_t seed) {
  const std::string name = absl::StrReplaceAll(way, {{", ", "-"}, {" ", "_"}});
  return JoinPath(options.out_dir, absl::StrCat(name, "-seed", seed));
}

Status TrainWay(const ModesOptions& options, const std::string& grab, const Way& way,
                int64_t seed) {
  const std::string dir = FolderOf(options, way.name, seed);
  if (Exists(JoinPath(dir, "metrics.json"))) return absl::OkStatus();
  GRAB_RETURN_IF_ERROR(RemoveAll(dir));
  std::vector<std::string> arguments = {grab,      "train",   "--config", options.config_path,
                                        "--model", way.model, "--shards", options.shards_dir,
                                        "--out",   dir};
  const auto set = [&](const std::string& setting) {
    arguments.insert(arguments.end(), {"--set", absl::StrCat(way.model, ".train.", setting)});
  };
  set(absl::StrCat("seed=", seed));
  set(absl::StrCat("validations_per_pass=", kValidations));
  set("patience=0");
  if (way.rows == "old") set(absl::StrCat("until=\"", options.new_from, "\""));
  if (way.rows == "new") set(absl::StrCat("from=\"", options.new_from, "\""));
  for (const std::string& setting : way.settings) set(setting);
  if (!way.warm_start.empty()) {
    arguments.insert(arguments.end(), {"--warm-start", FolderOf(options, way.warm_start, seed)});
  }
  GRAB_ASSIGN_OR_RETURN(const int code, RunProcess(arguments));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(dir, ": grab train ended with exit code ", code));
}

StatusOr<nlohmann::json> ReadMetrics(const std::string& dir) {
  const std::string path = JoinPath(dir, "metrics.json");
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLogBytesMax));
  nlohmann::json metrics = nlohmann::json::parse(text, nullptr, false);
  if (!metrics.is_object()) return absl::DataLossError(path + ": is no JSON object");
  return metrics;
}

std::optional<double> Metric(const nlohmann::json& metrics, const char* key) {
  if (!metrics.contains(key) || !metrics[key].is_number()) return std::nullopt;
  return metrics[key].get<double>();
}

// Targets at the first validation that reaches `auc`.
StatusOr<std::optional<double>> RowsToPass(const std::string& dir, double auc) {
  const std::string path = JoinPath(dir, "log.jsonl");
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLogBytesMax));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object()) return absl::DataLossError(path + ": a line is no JSON object");
    if (event.value("event", "") != "validation") continue;
    const std::optional<double> reached = Metric(event["metrics"]["tasks"][0], "auc");
    if (reached.has_value() && *reached >= auc) return Metric(event, "targets");
  }
  return std::optional<double>();
}

StatusOr<ModeResult::Seed> ReadSeed(const ModesOptions& options, const Way& way, int64_t seed) {
  const std::string dir = FolderOf(options, way.name, seed);
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json metrics, ReadMetrics(dir));
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json dlrm,
                        ReadMetrics(FolderOf(options, Ways()[0].name, seed)));
  ModeResult::Seed result;
  const nlohmann::json& test = metrics["test"];
  result.auc = Metric(test, "auc");
  result.gauc = Metric(test, "gauc");
  result.logloss = Metric(test, "logloss");
  result.pcoc = Metric(test, "pcoc");
  GRAB_ASSIGN_OR_RETURN(result.rows_to_pass,
                        RowsToPass(dir, Metric(dlrm["valid"], "auc").value_or(1.0)));
  const double wait = Metric(metrics, "wait_seconds").value_or(0.0);
  result.data_wait_fraction = wait / (wait + Metric(metrics, "train_seconds").value_or(0.0));
  result.step_seconds = metrics["step_seconds"];
  return result;
}

struct MeanSd {
  double mean = 0.0, sd = 0.0;
};

// nullopt if any is.
std::optional<MeanSd> Over(const std::vector<std::optional<double>>& values) {
  MeanSd result;
  for (const std::optional<double>& value : values) {
    if (!value.has_value()) return std::nullopt;
    result.mean += *value / static_cast<double>(values.size());
  }
  for (const std::optional<double>& value : values) {
    result.sd += (*value - result.mean) * (*value - result.mean);
  }
  result.sd = values.size() > 1 ? std::sqrt(result.sd / static_cast<double>(values.size() - 1)) : 0;
  return result;
}

std::vector<std::optional<double>> Column(const ModeResult& result,
                                          std::optional<double> ModeResult::Seed::*metric) {
  std::vector<std::optional<double>> column;
  for (const ModeResult::Seed& seed : result.seeds) column.push_back(seed.*metric);
  return column;
}

std::string Cell(const std::optional<MeanSd>& value, int digits) {
  if (!value.has_value()) return "-";
  return absl::StrFormat("%.*f", digits, value->mean);
}

Figure MakeFigure(const ModesOptions& options, std::string name, std::string unit,
                  const std::vector<std::optional<double>>& values, const std::string& conditions) {
  Series series{absl::StrCat(options.name, "_", name), std::move(unit), {}};
  for (const std::optional<double>& value : values) series.values.push_back(*value);
  Figure figure = Single(std::move(series));
  figure.conditions = conditions;
  figure.section = options.name;
  return figure;
}

}  // namespace

StatusOr<std::vector<ModeResult>> CompareModes(const ModesOptions& options) {
  GRAB_CHECK(!options.seeds.empty());
  GRAB_ASSIGN_OR_RETURN(const std::string grab, FindBinary("grab", "GRAB_BUILD_TRAIN"));
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.out_dir));
  std::vector<ModeResult> results;
  for (const Way& way : Ways()) {
    ModeResult result{way.name, way.rows, {}};
    for (const int64_t seed : options.seeds) {
      GRAB_RETURN_IF_ERROR(TrainWay(options, grab, way, seed));
      if (!way.reported) continue;
      GRAB_ASSIGN_OR_RETURN(ModeResult::Seed read, ReadSeed(options, way, seed));
      result.seeds.push_back(std::move(read));
    }
    if (way.reported) results.push_back(std::move(result));
  }
  return results;
}

std::string ModesTable(const ModesOptions& options, const std::vector<ModeResult>& results) {
  std::string table =
      absl::StrCat("| ", options.name,
                   " | rows | AUC | ± | GAUC | log-loss | PCOC | rows to pass DLRM |\n"
                   "|---|---|---|---|---|---|---|---|\n");
  for (const ModeResult& result : results) {
    const auto over = [&](std::optional<double> ModeResult::Seed::*metric) {
      return Over(Column(result, metric));
    };
    const auto auc = over(&ModeResult::Seed::auc);
    absl::StrAppend(&table, "| ", result.name, " | ", result.rows, " | ", Cell(auc, 4), " | ",
                    auc.has_value() ? absl::StrFormat("%.4f", auc->sd) : "-", " | ",
                    Cell(over(&ModeResult::Seed::gauc), 4), " | ",
                    Cell(over(&ModeResult::Seed::logloss), 4), " | ",
                    Cell(over(&ModeResult::Seed::pcoc), 3), " | ",
                    Cell(over(&ModeResult::Seed::rows_to_pass), 0), " |\n");
  }
  return table;
}

std::vector<Figure> ModesFigures(const ModesOptions& options,
                                 const std::vector<ModeResult>& results) {
  std::vector<Figure> figures;
  for (const ModeResult& result : results) {
    const auto auc = Column(result, &ModeResult::Seed::auc);
    if (!Over(auc).has_value()) continue;
    const std::string words = absl::StrCat(result.name, " on ", result.rows, " training rows, ",
                                           result.seeds.size(), " seeds");
    const std::string name =
        absl::StrReplaceAll(absl::StrCat(result.name, "_", result.rows), {{", ", "_"}, {" ", "_"}});
    figures.push_back(MakeFigure(options, name + "_auc", "AUC", auc, words));
    const auto cold = std::find_if(results.begin(), results.end(), [&](const ModeResult& other) {
      return other.rows == result.rows && other.name.rfind("end to end", 0) == 0;
    });
    if (cold == results.end() || cold->name == result.name) continue;
    std::vector<std::optional<double>> difference;
    for (size_t s = 0; s < auc.size(); ++s) {
      const std::optional<double> reference = cold->seeds[s].auc;
      if (!reference.has_value()) break;
      difference.push_back(*auc[s] - *reference);
    }
    if (difference.size() < auc.size()) continue;
    figures.push_back(MakeFigure(options, name + "_auc_minus_end_to_end", "AUC", difference,
                                 absl::StrCat(words, ", less ", cold->name, ", seed by seed")));
  }
  return figures;
}

}  // namespace grab::bench
