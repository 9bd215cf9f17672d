// grab-bench-training: what the parts of training are worth, what a large table takes, and whether
// killed runs come back.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/program.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "bench/run_grab.h"
#include "bench/training/curves.h"
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
  bool simulator = true;
  LargeTable table;
};

struct DataSet {
  std::string name;
  std::string data;      // folder of its log
  std::string new_from;  // ModesOptions
  std::vector<double> task_weights;
  std::vector<std::string> prepare;  // further arguments of grab prepare
};

// Ways of training and curves over several passes; the shards are prepared once.
Status AddModes(const Options& options, const DataSet& set, std::string& tables,
                std::vector<Figure>& figures, std::vector<Figure>& waits) {
  const RunData data{
      set.name, JoinPath(options.source, absl::StrCat("configs/", set.name, ".toml")),
      JoinPath(options.work, set.name + "-shards"), JoinPath(options.work, set.name)};
  if (!Exists(data.shards_dir)) {
    std::vector<std::string> arguments = {"prepare", "--config", data.config_path, "--data",
                                          set.data,  "--out",    data.shards_dir};
    arguments.insert(arguments.end(), set.prepare.begin(), set.prepare.end());
    GRAB_RETURN_IF_ERROR(RunGrab(arguments));
  }
  const ModesOptions modes{data, set.new_from, options.seeds};
  GRAB_ASSIGN_OR_RETURN(const std::vector<ModeResult> results, CompareModes(modes));
  absl::StrAppend(&tables, ModesTable(modes, results), "\n", TimeTable(modes, results), "\n");
  for (Figure& figure : ModesFigures(modes, results)) figures.push_back(std::move(figure));
  waits.push_back(DataWait(modes, results));
  CurveOptions over;
  over.data = data;
  over.task_weights = set.task_weights;
  GRAB_ASSIGN_OR_RETURN(const std::vector<Curve> curves, TrainCurves(over));
  absl::StrAppend(&tables, CurvesTable(over, curves), "\n");
  for (Figure& figure : CurvesFigures(over, curves)) figures.push_back(std::move(figure));
  const std::string stem(absl::StripSuffix(options.out, ".json"));
  return WriteFileDurably(absl::StrCat(stem, "-", set.name, ".svg"),
                          RenderSvg(CurvesChart(over, curves)));
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
  if (options.modes && !options.simulator && options.kuairand.empty()) {
    return absl::InvalidArgumentError(
        "--no-simulator leaves no log to train on; name one with --kuairand, or give --no-modes");
  }
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
    std::vector<DataSet> sets;
    if (options.simulator) {
      sets.push_back({"simulator", raw, "2024-01-07T12:00:00+00:00", {1.0, 0.1}, {}});
      if (!Exists(raw)) {
        GRAB_RETURN_IF_ERROR(RunGrab({"simulate", "--config", config, "--out", raw}));
      }
    }
    if (!options.kuairand.empty()) {
      // The targets with clicks alone: of others there are none after 25 April, so the two halves
      // of the comparison would not be alike.
      sets.push_back({"kuairand",
                      options.kuairand,
                      "2022-04-30T00:00:00+08:00",
                      {1.0},
                      {"--set", "events.prefix.split=\"'context'\""}});
    }
    std::vector<Figure> waits;
    for (const DataSet& set : sets) {
      GRAB_RETURN_IF_ERROR(AddModes(options, set, tables, figures, waits));
    }
    figures.push_back(
        *std::max_element(waits.begin(), waits.end(),
                          [](const Figure& a, const Figure& b) { return a.value < b.value; }));
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
  app.add_option("--out", options.out,
                 "The figures as JSON; tables in Markdown and charts beside it")
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
  app.add_flag("!--no-simulator", options.simulator,
               "Leave the simulated log out, which takes most of the time");
  if (const auto code = ParseCommandLine(app, argc, argv, "grab")) return *code;
  return ExitCode(Run(options), "grab");
}

}  // namespace
}  // namespace grab::bench

int main(int argc, char** argv) { return grab::bench::Main(argc, argv); }
