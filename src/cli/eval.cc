// grab eval
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/commands.h"
#include "config/config.h"
#include "eval/joined_scores.h"
#include "eval/level_gain.h"
#include "eval/report.h"
#include "eval/scores.h"

namespace grab {
namespace {

struct Options {
  std::vector<std::string> scores;
  std::string config;
  std::vector<std::string> overrides;
  std::string json;
  bool mean = false;
  bool levels = false;
};

StatusOr<EvalConfig> LoadEvalConfig(const Options& options) {
  const StatusOr<Config> config = options.config.empty()
                                      ? ParseConfig("", "defaults", options.overrides)
                                      : LoadConfig(options.config, options.overrides);
  if (!config.ok()) return config.status();
  return config->eval;
}

// Prints what the levels of each task would be worth and returns it.
StatusOr<nlohmann::json> PrintLevels(const ScoreTable& table) {
  nlohmann::json list = nlohmann::json::array();
  for (size_t task = 0; task < table.tasks.size(); ++task) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<LevelReport> report, ComputeLevelGains(table, task));
    if (!report.has_value()) {
      std::printf("  levels of %s: no labels of both classes\n", table.tasks[task].c_str());
      continue;
    }
    std::fputs(ToText(*report).c_str(), stdout);
    list.push_back(ToJson(*report));
  }
  return list;
}

// Prints what was asked for below `title`, if it has one, and returns it.
StatusOr<nlohmann::json> PrintMetrics(const ScoreTable& table, const EvalConfig& config,
                                      const std::string& title, bool levels) {
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, Evaluate(table, config));
  if (!title.empty()) std::printf("%s\n", title.c_str());
  std::fputs(ToText(report).c_str(), stdout);
  nlohmann::json json = ToJson(report);
  if (levels) {
    GRAB_ASSIGN_OR_RETURN(json["levels"], PrintLevels(table));
  }
  return json;
}

Status EvaluateFiles(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const EvalConfig config, LoadEvalConfig(options));
  nlohmann::json object;
  LogitMean together;
  for (const std::string& path : options.scores) {
    GRAB_ASSIGN_OR_RETURN(const ScoreTable table, ReadScores(path));
    StatusOr<nlohmann::json> entry =
        PrintMetrics(table, config, options.scores.size() > 1 ? path : "", options.levels);
    if (!entry.ok()) return Annotate(entry.status(), path);
    (*entry)["file"] = path;
    object["files"].push_back(*std::move(entry));
    if (options.mean) GRAB_RETURN_IF_ERROR(Annotate(together.Add(table), path));
  }
  if (options.mean) {
    GRAB_ASSIGN_OR_RETURN(const ScoreTable table, together.Table());
    GRAB_ASSIGN_OR_RETURN(
        object["mean"],
        PrintMetrics(table, config,
                     absl::StrCat("mean of the logits of ", options.scores.size(), " files"),
                     options.levels));
  }
  if (options.json.empty()) return absl::OkStatus();
  return WriteFileDurably(
      options.json, object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

void AddEval(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("eval", "Metrics of score files");
  sub->add_option("--scores", options->scores, "Score files (docs/formats/scores.md)")
      ->required()
      ->type_name("FILE...");
  sub->add_flag("--mean", options->mean,
                "Also of the mean of the files' logits: what the models score together");
  sub->add_flag(
      "--levels", options->levels,
      "Also what AUC would gain if the level of each user and sliced value were corrected "
      "by the labels before, or by all others: what a model could learn that goes on "
      "learning");
  sub->add_option("--config", options->config, "Config file whose [eval] says how to slice")
      ->type_name("FILE");
  sub->add_option("--set", options->overrides, "Override a setting; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  sub->add_option("--json", options->json, "Also write the metrics to this file")
      ->type_name("FILE");
  sub->footer(
      "AUC, GAUC, log-loss, NE and PCOC, overall and per slice; all exact.\n\n"
      "Examples:\n"
      "  grab eval --scores runs/demo/grab-seed1/test_scores.csv\n"
      "  grab eval --scores runs/a/test_scores.csv runs/b/test_scores.csv --json both.json\n"
      "  grab eval --mean --scores runs/zoo/grab-seed?/test_scores.csv\n"
      "  grab eval --levels --scores s.csv       worth of learning on: of users and slice columns\n"
      "  grab eval --scores s.csv --set eval.history_edges='[0, 10, 100]'");
  sub->callback([&command, options] { command = [options] { return EvaluateFiles(*options); }; });
}

}  // namespace grab
