// grab-client: what talks to a running server.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/program.h"
#include "base/threads.h"
#include "checkpoint/model_files.h"
#include "client/load.h"
#include "client/replay_log.h"
#include "eval/joined_scores.h"

namespace grab {
namespace {

constexpr char kProgram[] = "grab-client";
constexpr uint64_t kPemBytesMax = 1 << 20;
constexpr uint64_t kTokenBytesMax = 1 << 12;

using Command = std::function<Status()>;

struct TargetOptions {
  ConnectOptions connect;
  std::string token_file, ca_file;

  void Add(CLI::App& app) {
    app.add_option("--target", connect.target, "HOST:PORT of the server's gRPC")
        ->capture_default_str();
    app.add_option("--token", token_file, "File that holds a bearer token")->type_name("FILE");
    app.add_option("--tls-ca", ca_file, "PEM of who signed the server's certificate")
        ->type_name("FILE");
  }
  StatusOr<std::unique_ptr<Connection>> Open() const {
    ConnectOptions options = connect;
    if (!token_file.empty()) {
      GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(token_file, kTokenBytesMax));
      options.token = text.substr(0, text.find_first_of(" \t\r\n"));
    }
    if (!ca_file.empty()) {
      GRAB_ASSIGN_OR_RETURN(options.ca_pem, ReadFile(ca_file, kPemBytesMax));
    }
    return Connection::Open(options);
  }
};

struct ReplayCommand {
  TargetOptions target;
  ReplayOptions replay;
  std::string model, shards, split = "test", out, compare;
  double diff_max = -1.0;
};

StatusOr<ModelSpec> SpecOf(const std::string& model) {
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadDense(model));
  return loaded.model.spec;
}

nlohmann::json ToJson(const ReplayCounts& counts) {
  return {{"observed", counts.observed},     {"stored", counts.stored},
          {"duplicates", counts.duplicates}, {"too_old", counts.too_old},
          {"ranked", counts.ranked},         {"rank_requests", counts.rank_requests},
          {"degraded", counts.degraded},     {"retried", counts.retried},
          {"seconds", counts.seconds}};
}

// Beside the scores, and on standard output.
Status ReportReplay(const ReplayCommand& options, const ReplayResult& result) {
  nlohmann::json report = {{"counts", ToJson(result.counts)}};
  const ReplayCounts& counts = result.counts;
  std::printf("%zu targets ranked in %zu requests, %zu events observed, in %s\n",
              static_cast<size_t>(counts.ranked), static_cast<size_t>(counts.rank_requests),
              static_cast<size_t>(counts.observed), HumanSeconds(counts.seconds).c_str());
  double diff_max = 0.0;
  if (!options.compare.empty()) {
    GRAB_ASSIGN_OR_RETURN(const ScoreTable offline, ReadScores(options.compare));
    for (const std::string& task : result.scores.tasks) {
      GRAB_ASSIGN_OR_RETURN(const ScoreDiff diff, CompareScores(result.scores, offline, task));
      std::printf("%s: largest difference to %s: %.3g, mean %.3g\n", task.c_str(),
                  options.compare.c_str(), diff.p_diff_max, diff.p_diff_mean);
      report["differences"][task] = {{"max", diff.p_diff_max}, {"mean", diff.p_diff_mean}};
      diff_max = std::max(diff_max, diff.p_diff_max);
    }
    report["replay_max_abs_diff"] = diff_max;
  }
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out + ".json", report.dump(1) + "\n"));
  if (options.diff_max >= 0.0 && diff_max > options.diff_max) {
    return absl::FailedPreconditionError(
        absl::StrCat("scores differ by up to ", diff_max, ", ", options.diff_max, " is allowed"));
  }
  return absl::OkStatus();
}

Status Replay(const ReplayCommand& options) {
  ReplayOptions replay = options.replay;
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
    if (options.split == SplitName(split)) replay.split = split;
  }
  GRAB_ASSIGN_OR_RETURN(const ModelSpec spec, SpecOf(options.model));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, options.target.Open());
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  GRAB_ASSIGN_OR_RETURN(const ReplayResult result,
                        ReplayLog(*connection, *shards, spec, EvalConfig(), replay, *progress));
  GRAB_RETURN_IF_ERROR(WriteScores(options.out, result.scores));
  return ReportReplay(options, result);
}

void AddReplay(CLI::App& app, Command& command) {
  const auto options = std::make_shared<ReplayCommand>();
  CLI::App* sub = app.add_subcommand(
      "replay", "Send a prepared log through a running server as it was lived, and compare scores");
  options->target.Add(*sub);
  sub->add_option("--model", options->model, "The model that serves")->required()->type_name("DIR");
  sub->add_option("--shards", options->shards, "Folder written by grab prepare")
      ->required()
      ->type_name("DIR");
  sub->add_option("--split", options->split, "Which targets are ranked")
      ->check(CLI::IsMember({"train", "valid", "test"}))
      ->capture_default_str();
  sub->add_option("--out", options->out, "Score file to write; counts go to OUT.json")
      ->required()
      ->type_name("FILE");
  sub->add_option("--compare", options->compare, "Score file of the same targets made offline")
      ->type_name("FILE");
  sub->add_option("--diff-max", options->diff_max,
                  "Fail when a score differs by more from --compare");
  sub->add_option("--connections", options->replay.connections, "Users are dealt out to them")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  sub->footer(
      "The server must start without the log's users (a --state of its own), and keep as many\n"
      "events per user as the log has.\n\n"
      "Example:\n"
      "  grab replay --model runs/demo/model --shards runs/demo/shards --out replay.csv \\\n"
      "    --compare runs/demo/scores.csv --diff-max 1e-5");
  sub->callback([&command, options] { command = [options] { return Replay(*options); }; });
}

struct LoadCommand {
  TargetOptions target;
  LoadOptions load;
  LoadMixOptions mix;
  std::string shards, out;
  std::vector<double> rates;
};

void PrintRow(double rate, const LoadResult& result) {
  std::printf("%10.1f %10.1f %8.2f %8.2f %8.2f %9zu %9zu %8zu\n", rate, result.ok_ranks_per_s,
              result.rank.p50_ms, result.rank.p99_ms, result.rank.p999_ms,
              static_cast<size_t>(result.rank.refused), static_cast<size_t>(result.rank.expired),
              static_cast<size_t>(result.rank.failed + result.rank.not_sent));
  std::fflush(stdout);
}

Status Load(const LoadCommand& options) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards));
  std::vector<UserBlock> blocks;
  uint64_t events = 0;
  for (const ShardSet::BlockRef& ref : shards->blocks()) {
    GRAB_ASSIGN_OR_RETURN(UserBlock block, shards->Read(ref));
    events += block.events.size();
    blocks.push_back(std::move(block));
  }
  if (events == 0) return absl::InvalidArgumentError(options.shards + ": has no events");
  const LoadMix mix(shards->schema(), blocks, options.mix);
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, options.target.Open());
  std::printf("%10s %10s %8s %8s %8s %9s %9s %8s\n", "offered/s", "ok/s", "p50 ms", "p99 ms",
              "p999 ms", "refused", "expired", "failed");
  nlohmann::json results = nlohmann::json::array();
  for (const double rate : options.rates) {
    LoadOptions load = options.load;
    load.ranks_per_s = rate;
    const LoadResult result = RunLoad(*connection, mix, load);
    PrintRow(rate, result);
    nlohmann::json entry = ToJson(result);
    entry["offered_per_s"] = rate;
    results.push_back(std::move(entry));
  }
  if (options.out.empty()) return absl::OkStatus();
  return WriteFileDurably(options.out, results.dump(1) + "\n");
}

void AddLoad(CLI::App& app, Command& command) {
  const auto options = std::make_shared<LoadCommand>();
  options->rates = {options->load.ranks_per_s};
  CLI::App* sub = app.add_subcommand("load", "Put a running server under open-loop load");
  options->target.Add(*sub);
  sub->add_option("--shards", options->shards,
                  "Prepared log that users, candidates and events are drawn from")
      ->required()
      ->type_name("DIR");
  sub->add_option("--rates", options->rates, "Ranks per second, one measurement each")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--observes-per-s", options->load.observes_per_s, "Beside them")
      ->capture_default_str();
  sub->add_option("--candidates", options->mix.candidates, "Of a request")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  sub->add_option("--seconds", options->load.seconds, "Measured")->capture_default_str();
  sub->add_option("--warm-s", options->load.warm_s, "Before")->capture_default_str();
  sub->add_option("--timeout-s", options->load.timeout_s, "Deadline of a call")
      ->capture_default_str();
  sub->add_option("--connections", options->load.connections, "HTTP/2 connections")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  sub->add_option("--seed", options->load.seed, "Of arrivals")->capture_default_str();
  sub->add_option("--out", options->out, "JSON file of the results")->type_name("FILE");
  sub->footer(
      "Calls leave when they are due, as a Poisson process, and latency counts from then: a "
      "server\n"
      "that stalls cannot hide it. Events that it observes are stored: use a --state for it.\n\n"
      "Example:\n"
      "  grab load --shards runs/demo/shards --rates 50,100,200,400 --seconds 10");
  sub->callback([&command, options] { command = [options] { return Load(*options); }; });
}

int Main(int argc, char** argv) {
  StopLookingForLockCycles();
  CLI::App app("Talks to a running grab serve.", "grab");
  app.require_subcommand(1);
  Command command;
  AddReplay(app, command);
  AddLoad(app, command);
  if (const auto code = ParseCommandLine(app, argc, argv, kProgram)) return *code;
  return ExitCode(command(), kProgram);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
