#include "bench/serving/replay_case.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "bench/run_grab.h"
#include "bench/serving/server_process.h"
#include "checkpoint/model_files.h"
#include "client/replay_log.h"
#include "eval/joined_scores.h"
#include "eval/metrics.h"

namespace grab::bench {
namespace {

constexpr int kConnections = 16;

StatusOr<double> AucOf(const ScoreTable& scores) {
  const TaskScores first = ScoresOf(scores, 0);
  GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(first.p, first.label));
  return metrics.auc.value_or(0.0);
}

}  // namespace

StatusOr<std::vector<Figure>> MeasureReplay(const ServingOptions& options,
                                            const std::string& source,
                                            const std::string& data_dir) {
  const std::string run = JoinPath(options.work_dir, "kuairand");
  const std::string offline = JoinPath(options.work_dir, "kuairand-offline.csv");
  if (!Exists(JoinPath(run, "model"))) {
    GRAB_RETURN_IF_ERROR(RunGrab({"run", "--config", JoinPath(source, "configs/kuairand.toml"),
                                  "--data", data_dir, "--out", run, "--seeds", "1"}));
  }
  const std::string model = JoinPath(run, "model"), shards_dir = JoinPath(run, "shards");
  GRAB_RETURN_IF_ERROR(
      RunGrab({"score", "--model", model, "--shards", shards_dir, "--out", offline}));
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadDense(model));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(shards_dir));
  GRAB_ASSIGN_OR_RETURN(const ScoreTable expected, ReadScores(offline));
  const std::string state = JoinPath(options.work_dir, "kuairand-state");
  GRAB_RETURN_IF_ERROR(RemoveAll(state));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ServerProcess> server,
                        ServerProcess::Start(options.serve_binary,
                                             {"--model", model, "--state", state, "--workers",
                                              absl::StrCat(options.workers), "--queue-wait-max-s",
                                              "30", "--events-max", "100000"},
                                             JoinPath(options.work_dir, "server.log")));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, server->Connect());
  ReplayOptions replay;
  replay.connections = kConnections;
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  GRAB_ASSIGN_OR_RETURN(
      const ReplayResult result,
      ReplayLog(*connection, *shards, loaded.model.spec, EvalConfig(), replay, *progress));
  GRAB_RETURN_IF_ERROR(server->Stop());
  GRAB_ASSIGN_OR_RETURN(const ScoreDiff diff,
                        CompareScores(result.scores, expected, result.scores.tasks[0]));
  GRAB_ASSIGN_OR_RETURN(const double auc, AucOf(result.scores));
  GRAB_ASSIGN_OR_RETURN(const double offline_auc, AucOf(expected));
  const std::string what = absl::StrCat(
      "KuaiRand's test days: ", result.counts.ranked, " targets in ", result.counts.rank_requests,
      " requests and ", result.counts.observed, " events over gRPC in ",
      HumanSeconds(result.counts.seconds), "; ", result.counts.degraded, " degraded");
  std::vector<Figure> figures;
  const auto add = [&](const char* name, const char* unit, double value, const std::string& more) {
    Figure figure = Single({name, unit, {value}});
    figure.conditions = what + more;
    figure.section = "Consistency";
    figures.push_back(std::move(figure));
  };
  add("replay_max_abs_diff", "probability", diff.p_diff_max, "");
  add("replay_auc", "AUC", auc, "");
  add("replay_auc_minus_offline", "AUC", auc - offline_auc, "");
  return figures;
}

}  // namespace grab::bench
