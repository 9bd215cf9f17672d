// grab-bench-serve: how fast a server answers, how much it takes, what it loses.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/program.h"
#include "base/threads.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "bench/serving/cases.h"
#include "bench/serving/replay_case.h"
#include "cli/process.h"

namespace grab::bench {
namespace {

struct Options {
  ServingOptions serving;
  std::string out = "serve.json";
  std::string source = ".";
  std::string kuairand;
  bool load = true;
};

void Say(const char* what) { std::fprintf(stderr, "grab-bench-serve: %s\n", what); }

Status Run(Options options) {
  ServingOptions& serving = options.serving;
  GRAB_ASSIGN_OR_RETURN(serving.serve_binary, FindBinary("grab-serve", "GRAB_BUILD_SERVER"));
  GRAB_RETURN_IF_ERROR(MakeDirectories(serving.work_dir));
  Say("model and users");
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Workload> workload, MakeWorkload(serving));
  std::vector<Figure> figures;
  std::string table;
  if (options.load) {
    Say("load");
    GRAB_ASSIGN_OR_RETURN(figures, MeasureLoad(serving, *workload, table));
  }
  if (serving.soak_s > 0.0) {
    Say("soak");
    GRAB_ASSIGN_OR_RETURN(std::vector<Figure> soak, MeasureSoak(serving, *workload));
    std::move(soak.begin(), soak.end(), std::back_inserter(figures));
  }
  if (serving.swaps > 0) {
    Say("swaps");
    GRAB_ASSIGN_OR_RETURN(Figure figure, MeasureSwaps(serving, *workload));
    figures.push_back(std::move(figure));
  }
  if (serving.stored_users > 0) {
    Say("restart");
    GRAB_ASSIGN_OR_RETURN(Figure figure, MeasureRestart(serving, *workload));
    figures.push_back(std::move(figure));
  }
  if (serving.kills > 0) {
    Say("kills");
    GRAB_ASSIGN_OR_RETURN(std::vector<Figure> kills, MeasureKills(serving, *workload));
    std::move(kills.begin(), kills.end(), std::back_inserter(figures));
  }
  if (!options.kuairand.empty()) {
    Say("replay");
    GRAB_ASSIGN_OR_RETURN(std::vector<Figure> replay,
                          MeasureReplay(serving, options.source, options.kuairand));
    std::move(replay.begin(), replay.end(), std::back_inserter(figures));
  }
  const nlohmann::json machine = DescribeMachine();
  const std::string stem(absl::StripSuffix(options.out, ".json"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out, ToJsonText(machine, figures)));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(stem + ".md", table + "\n" + ToMarkdown(machine, figures)));
  std::printf("%s\n%s%s, %s.md\n", table.c_str(), ToText(figures).c_str(), options.out.c_str(),
              stem.c_str());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  StopLookingForLockCycles();
  CLI::App app("Measures a server under load, past it, and after kill -9.", "grab-bench-serve");
  app.footer(
      "The load generator and the server share this machine's cores.\n\n"
      "Examples:\n"
      "  grab-bench-serve --kuairand ~/kuairand_pure_14d\n"
      "  grab-bench-serve --rounds 1 --swaps 0 --stored-users 0 --kills 0");
  Options options;
  ServingOptions& serving = options.serving;
  serving.work_dir = "runs/bench-serve";
  app.add_option("--out", options.out, "The figures as JSON; the same as Markdown beside it")
      ->capture_default_str();
  app.add_option("--work", serving.work_dir, "Folder of models and states")->capture_default_str();
  app.add_option("--source", options.source, "Folder that holds configs/")->capture_default_str();
  app.add_option("--kuairand", options.kuairand,
                 "Folder of the KuaiRand-Pure log, replayed through a server; empty: not");
  app.add_option("--workers", serving.workers, "Of the server")->capture_default_str();
  app.add_option("--rounds", serving.rounds, "Of the load; medians are taken over them")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--seconds", serving.seconds, "Of one load")->capture_default_str();
  app.add_option("--swaps", serving.swaps, "Models swapped under load; 0: none")
      ->capture_default_str();
  app.add_option("--stored-users", serving.stored_users, "Of the restarted server; 0: not")
      ->capture_default_str();
  app.add_option("--kills", serving.kills, "kill -9 under load; 0: none")->capture_default_str();
  app.add_option("--soak-s", serving.soak_s, "Seconds of steady load with memory watched; 0: none")
      ->capture_default_str();
  app.add_flag("!--no-load", options.load, "Leave rates and latencies out");
  if (const auto code = ParseCommandLine(app, argc, argv, "grab-bench-serve")) return *code;
  return ExitCode(Run(options), "grab-bench-serve");
}

}  // namespace
}  // namespace grab::bench

int main(int argc, char** argv) { return grab::bench::Main(argc, argv); }
