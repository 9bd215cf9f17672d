// grab score
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/file.h"
#include "base/threads.h"
#include "checkpoint/model_files.h"
#include "cli/commands.h"
#include "cli/schema_check.h"
#include "config/config.h"
#include "eval/joined_scores.h"
#include "eval/score_split.h"
#include "model/forward.h"
#include "serve/precision_check.h"

namespace grab {
namespace {

struct Options {
  std::string model;
  std::string shards;
  std::string split = "test";
  std::string out;
  std::string compare;
  bool engine = false;
  std::vector<std::string> overrides;
};

// Per task the largest difference of scores to another file's; written beside the scores.
Status Compare(const Options& options, const ScoreTable& scores) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable other, ReadScores(options.compare));
  double difference = 0.0;
  for (const std::string& task : scores.tasks) {
    GRAB_ASSIGN_OR_RETURN(const ScoreDiff diff, CompareScores(scores, other, task));
    std::printf("%s: largest difference of %zu scores to %s: %.3g, mean %.3g\n", task.c_str(),
                static_cast<size_t>(diff.rows), options.compare.c_str(), diff.p_diff_max,
                diff.p_diff_mean);
    difference = std::max(difference, diff.p_diff_max);
  }
  const nlohmann::json parity = {{"score_parity_max_abs_diff", difference},
                                 {"rows", scores.rows()}};
  const size_t slash = options.out.rfind('/');
  const std::string dir = slash == std::string::npos ? "." : options.out.substr(0, slash);
  return WriteFileDurably(JoinPath(dir, "score_parity.json"), parity.dump(1) + "\n");
}

StatusOr<ScoreTable> ScoreInBatches(const Model& model, const ShardSet& shards,
                                    const EvalConfig& config, Split split, Progress& progress) {
  Forward forward(model, DefaultThreads());
  return ScoreSplit(
      shards, model.spec, config, {split, false},
      [&](const Batch& batch) { return forward.Logits(batch); }, progress);
}

Status ScoreShards(const Options& options) {
  static const std::map<std::string, Split> kSplits = {
      {"train", Split::kTrain}, {"valid", Split::kValid}, {"test", Split::kTest}};
  GRAB_ASSIGN_OR_RETURN(const Config config, ParseConfig("", "defaults", options.overrides));
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(options.model));
  for (const std::string& reason : loaded.skipped) {
    std::fprintf(stderr, "grab: passed over a damaged model: %s\n", reason.c_str());
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards));
  GRAB_RETURN_IF_ERROR(CheckSchema(*shards, loaded.model.spec, loaded.dir));
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  const Stopwatch watch;
  const Split split = kSplits.at(options.split);
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores,
                        options.engine
                            ? ScoreThroughEngine(loaded.model, loaded.precision, *shards,
                                                 config.eval, split, *progress)
                            : ScoreInBatches(loaded.model, *shards, config.eval, split, *progress));
  GRAB_RETURN_IF_ERROR(WriteScores(options.out, scores));
  std::printf("%s: %zu scores of %s in %s\n", options.out.c_str(), scores.rows(),
              loaded.dir.c_str(), HumanSeconds(watch.Seconds()).c_str());
  return options.compare.empty() ? absl::OkStatus() : Compare(options, scores);
}

}  // namespace

void AddScore(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("score", "Score the targets of prepared shards");
  sub->add_option("--model", options->model, "Exported model, or a folder of them (the newest)")
      ->required()
      ->type_name("DIR");
  sub->add_option("--shards", options->shards, "Folder written by grab prepare")
      ->required()
      ->type_name("DIR");
  sub->add_option("--split", options->split, "Which targets")
      ->check(CLI::IsMember({"train", "valid", "test"}))
      ->capture_default_str();
  sub->add_option("--out", options->out, "Score file to write (docs/formats/scores.md)")
      ->required()
      ->type_name("FILE");
  sub->add_flag("--engine", options->engine,
                "Replay timelines through the serving engine, in the model's precision, instead of "
                "scoring whole timelines in f32");
  sub->add_option(
         "--compare", options->compare,
         "Score file of the same targets; the differences go to score_parity.json beside OUT")
      ->type_name("FILE");
  sub->add_option("--set", options->overrides, "Override a setting of [eval]; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  sub->footer(
      "Runs without libtorch. --engine computes what the server would: events appended one by one "
      "to\n"
      "cached histories, candidates scored against them.\n\n"
      "Example:\n"
      "  grab score --model runs/demo/model --shards runs/demo/shards --out scores.csv \\\n"
      "    --compare runs/demo/grab-seed1/test_scores.csv");
  sub->callback([&command, options] { command = [options] { return ScoreShards(*options); }; });
}

}  // namespace grab
