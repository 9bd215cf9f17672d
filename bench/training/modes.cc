#include "bench/training/modes.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"

namespace grab::bench {
namespace {

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

Status TrainWay(const ModesOptions& options, const Way& way, int64_t seed) {
  Run run{way.name, way.model, way.settings, ""};
  run.settings.push_back(absl::StrCat("validations_per_pass=", kValidations));
  if (way.rows == "old") run.settings.push_back(absl::StrCat("until=\"", options.new_from, "\""));
  if (way.rows == "new") run.settings.push_back(absl::StrCat("from=\"", options.new_from, "\""));
  if (!way.warm_start.empty()) run.warm_start = RunFolder(options.data, way.warm_start, seed);
  return TrainRun(options.data, run, seed);
}

// Targets at the first validation that reaches `auc`.
StatusOr<std::optional<double>> RowsToPass(const std::string& dir, double auc) {
  std::optional<double> rows;
  GRAB_RETURN_IF_ERROR(ForEachLogLine(dir, [&](const nlohmann::json& event) {
    if (event.value("event", "") != "validation") return true;
    const std::optional<double> reached = Number(event["metrics"]["tasks"][0], "auc");
    if (!reached.has_value() || *reached < auc) return true;
    rows = Number(event, "targets");
    return false;
  }));
  return rows;
}

StatusOr<ModeResult::Seed> ReadSeed(const ModesOptions& options, const Way& way, int64_t seed) {
  const std::string dir = RunFolder(options.data, way.name, seed);
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json metrics, ReadMetrics(dir));
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json dlrm,
                        ReadMetrics(RunFolder(options.data, Ways()[0].name, seed)));
  ModeResult::Seed result;
  const nlohmann::json& test = metrics["test"];
  result.auc = Number(test, "auc");
  result.gauc = Number(test, "gauc");
  result.logloss = Number(test, "logloss");
  result.pcoc = Number(test, "pcoc");
  GRAB_ASSIGN_OR_RETURN(result.rows_to_pass,
                        RowsToPass(dir, Number(dlrm["valid"], "auc").value_or(1.0)));
  result.wait_seconds = Number(metrics, "wait_seconds").value_or(0.0);
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
  Series series{absl::StrCat(options.data.name, "_", name), std::move(unit), {}};
  for (const std::optional<double>& value : values) series.values.push_back(*value);
  Figure figure = Single(std::move(series));
  figure.conditions = conditions;
  figure.section = options.data.name;
  return figure;
}

}  // namespace

StatusOr<std::vector<ModeResult>> CompareModes(const ModesOptions& options) {
  GRAB_CHECK(!options.seeds.empty());
  std::vector<ModeResult> results;
  for (const Way& way : Ways()) {
    ModeResult result{way.name, way.rows, {}};
    for (const int64_t seed : options.seeds) {
      GRAB_RETURN_IF_ERROR(TrainWay(options, way, seed));
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
      absl::StrCat("| ", options.data.name,
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

double ModeResult::Seed::DataWaitFraction() const {
  double seconds = wait_seconds;
  for (const auto& part : step_seconds) seconds += part.get<double>();
  return wait_seconds / seconds;
}

std::string TimeTable(const ModesOptions& options, const std::vector<ModeResult>& results) {
  std::string table =
      absl::StrCat("| ", options.data.name,
                   " | seconds | waiting | look-up | forward | backward | "
                   "dense update | table update |\n|---|---|---|---|---|---|---|---|\n");
  for (const ModeResult& result : results) {
    std::vector<std::pair<std::string, double>> parts = {
        {"wait", 0.0},     {"look_up", 0.0},      {"forward", 0.0},
        {"backward", 0.0}, {"dense_update", 0.0}, {"table_update", 0.0}};
    double seconds = 0.0;
    for (const ModeResult::Seed& seed : result.seeds) {
      for (auto& [name, sum] : parts) {
        const double part = name == "wait" ? seed.wait_seconds
                                           : Number(seed.step_seconds, name.c_str()).value_or(0);
        sum += part;
        seconds += part;
      }
    }
    absl::StrAppendFormat(&table, "| %s, %s rows | %.1f |", result.name, result.rows,
                          seconds / static_cast<double>(result.seeds.size()));
    for (const auto& [name, sum] : parts)
      absl::StrAppendFormat(&table, " %.1f %% |", 100 * sum / seconds);
    absl::StrAppend(&table, "\n");
  }
  return table;
}

Figure DataWait(const ModesOptions& options, const std::vector<ModeResult>& results) {
  Figure most;
  for (const ModeResult& result : results) {
    Series series{"data_wait_fraction", "of steps and waiting", {}};
    for (const ModeResult::Seed& seed : result.seeds)
      series.values.push_back(seed.DataWaitFraction());
    Figure figure = Single(std::move(series));
    if (!most.name.empty() && figure.value <= most.value) continue;
    most = std::move(figure);
    most.conditions = absl::StrCat(options.data.name, ": ", result.name, " on ", result.rows,
                                   " rows, which waits most");
    most.section = options.data.name;
  }
  return most;
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
    std::vector<std::optional<double>> waits;
    for (const ModeResult::Seed& seed : result.seeds) waits.push_back(seed.DataWaitFraction());
    figures.push_back(
        MakeFigure(options, name + "_data_wait_fraction", "of steps and waiting", waits, words));
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
