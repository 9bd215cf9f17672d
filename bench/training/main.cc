// grab-bench-training: what the parts of training are worth, what a large table takes, and whether
// killed runs come back.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "absl/strings/strip.h"
#include "base/file.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "bench/training/kills.h"
#include "bench/training/modes.h"
#include "bench/training/tables.h"
#include "cli/process.h"

namespace grab::bench {
namespace {

struct Options {
  std::string out = "training.json";
  std::string work = "runs/bench-training";
  std::string source = ".";
  std::string kuairand;
  std::vector<int64_t> seeds = {1, 2, 3};
  int kills = 50;
  bool modes = true;
  LargeTable table;
};

Status RunGrab(std::vector<std::string> arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string grab, FindBinary("grab", "GRAB_BUILD_TRAIN"));
  arguments.insert(arguments.begin(), grab);
  GRAB_ASSIGN_OR_RETURN(const int code, RunProcess(arguments));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("grab ", arguments[1], " ended with exit code ", code));
}

// A data set of the comparison: its shards are prepared once.
Status AddModes(const Options& options, ModesOptions modes, const std::string& data,
                std::string& tables, std::vector<Figure>& figures) {
  modes.shards_dir = JoinPath(options.work, modes.name + "-shards");
  modes.out_dir = JoinPath(options.work, modes.name);
  modes.seeds = options.seeds;
  if (!Exists(modes.shards_dir)) {
    GRAB_RETURN_IF_ERROR(RunGrab(
        {"prepare", "--config", modes.config_path, "--data", data, "--out", modes.shards_dir}));
  }
  GRAB_ASSIGN_OR_RETURN(const std::vector<ModeResult> results, CompareModes(modes));
  absl::StrAppend(&tables, ModesTable(modes, results), "\n");
  for (Figure& figure : ModesFigures(modes, results)) figures.push_back(std::move(figure));
  return absl::OkStatus();
}

Status AddKills(const Options& options, const std::string& raw, std::vector<Figure>& figures) {
  GRAB_ASSIGN_OR_RETURN(const std::string grab, FindBinary("grab", "GRAB_BUILD_TRAIN"));
  KillOptions kill;
  kill.work_dir = JoinPath(options.work, "kills");
  GRAB_RETURN_IF_ERROR(RemoveAll(kill.work_dir));
  GRAB_RETURN_IF_ERROR(MakeDirectories(kill.work_dir));
  kill.kills = options.kills;
  kill.compared = {"progressive.jsonl", "passes.json", "releases"};
  kill.command = {grab,       "train",
                  "--config", JoinPath(options.source, "configs/simulator.toml"),
                  "--data",   raw,
                  "--model",  "grab",
                  "--follow", "--log-ended",
                  "--set",    "grab.train.mode=sts",
                  "--set",    "grab.train.checkpoint_steps=20",
                  "--set",    "follow.range_s=259200",
                  "--set",    "follow.full_every=2"};
  GRAB_ASSIGN_OR_RETURN(const KillResult result, KillAndResume(kill));
  for (const std::string& what : result.what) std::printf("differs: %s\n", what.c_str());
  Figure figure = Single({"kill_resume_mismatches", "runs", {double(result.mismatches)}});
  figure.conditions = absl::StrCat(result.kills, " kills over ", result.runs,
                                   " runs that follow the simulated log: checkpoint, releases, "
                                   "ledger and progressive evaluation");
  figure.section = "Durability";
  figures.push_back(std::move(figure));
  return absl::OkStatus();
}

Status Run(const Options& options) {
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.work));
  const std::string config = JoinPath(options.source, "configs/simulator.toml");
  const std::string raw = JoinPath(options.work, "raw"), small = JoinPath(options.work, "small");
  if (options.kills > 0 && !Exists(small)) {
    GRAB_RETURN_IF_ERROR(
        RunGrab({"simulate", "--config", config, "--out", small, "--set", "simulate.users=300"}));
  }
  std::string tables;
  std::vector<Figure> figures;
  if (options.modes) {
    if (!Exists(raw)) GRAB_RETURN_IF_ERROR(RunGrab({"simulate", "--config", config, "--out", raw}));
    GRAB_RETURN_IF_ERROR(AddModes(options,
                                  {"simulator", config, "", "", "2024-01-07T12:00:00+00:00", {}},
                                  raw, tables, figures));
    if (!options.kuairand.empty()) {
      GRAB_RETURN_IF_ERROR(AddModes(options,
                                    {"kuairand",
                                     JoinPath(options.source, "configs/kuairand.toml"),
                                     "",
                                     "",
                                     "2022-04-30T00:00:00+08:00",
                                     {}},
                                    options.kuairand, tables, figures));
    }
  }
  if (options.table.rows > 0) {
    GRAB_ASSIGN_OR_RETURN(std::vector<Figure> large, MeasureTable(options.table));
    for (Figure& figure : large) figures.push_back(std::move(figure));
  }
  if (options.kills > 0) GRAB_RETURN_IF_ERROR(AddKills(options, small, figures));
  const nlohmann::json machine = DescribeMachine();
  const std::string stem(absl::StripSuffix(options.out, ".json"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out, ToJsonText(machine, figures)));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(stem + ".md", tables + ToMarkdown(machine, figures)));
  std::printf("%s%s%s, %s.md\n", tables.c_str(), ToText(figures).c_str(), options.out.c_str(),
              stem.c_str());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Measures what the parts of training are worth, and kills runs that come back.",
               "grab-bench-training");
  app.footer(
      "Training runs that are complete in --work are kept.\n\n"
      "Examples:\n"
      "  grab-bench-training --kuairand ~/kuairand_pure_14d\n"
      "  grab-bench-training --no-modes --kills 10 --table-rows 0");
  Options options;
  app.add_option("--out", options.out, "The figures as JSON; tables in Markdown beside it")
      ->capture_default_str();
  app.add_option("--work", options.work, "Folder of the runs")->capture_default_str();
  app.add_option("--source", options.source, "Folder that holds configs/")->capture_default_str();
  app.add_option("--kuairand", options.kuairand, "Folder of the KuaiRand-Pure log; empty: not it");
  app.add_option("--seeds", options.seeds, "Seeds of every way of training")->delimiter(',');
  app.add_option("--kills", options.kills, "How often runs are killed in all; 0: not")
      ->capture_default_str();
  app.add_option("--table-rows", options.table.rows, "Rows of the large table; 0: no table")
      ->capture_default_str();
  app.add_flag("!--no-modes", options.modes, "Leave the ways of training out");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const Status status = Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "grab: error: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace
}  // namespace grab::bench

int main(int argc, char** argv) { return grab::bench::Main(argc, argv); }
