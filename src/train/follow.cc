#include "train/follow.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "data/pass_ledger.h"
#include "data/prepare.h"
#include "eval/progressive.h"
#include "eval/report.h"
#include "train/release.h"
#include "train/tensor_memory.h"

namespace grab {
namespace {

constexpr char kPassPrefix[] = "pass-";

class Follower {
 public:
  Follower(const Config& config, const FollowOptions& options, ModelSpec spec, Progress& progress)
      : config_(config),
        follow_(config.follow),
        options_(options),
        run_(config, options.session, std::move(spec), progress) {
    for (const TaskConfig& task : config.tasks) delay_max_s_ = std::max(delay_max_s_, task.delay_s);
  }

  Status Run();

 private:
  RunCounters& counters() { return run_.counters(); }
  TimeRange PassRange(int64_t pass) const {
    return {from_ms_ + pass * follow_.range_s * 1000,
            from_ms_ + (pass + 1) * follow_.range_s * 1000};
  }
  std::string PassDir(const TimeRange& pass) const {
    return run_.Path(absl::StrCat(kPassPrefix, pass.from_ms));
  }
  // Whether the next pass can start; waits for the log. False: the log has ended before it.
  StatusOr<bool> Wait(const TimeRange& pass);
  Status RunPass(const TimeRange& pass);
  StatusOr<std::unique_ptr<ShardSet>> Prepare(const TimeRange& pass);
  Status LookBack(const ShardSet& shards, const TimeRange& pass);
  Status Evaluate(const ShardSet& shards, const TimeRange& pass);
  Status Train(const ShardSet& shards, const TimeRange& pass);
  RateFactors Rates(const Batch& batch);
  Status EndPass();
  Status Release();
  Status RemoveLostReleases();
  Status RemoveOldPasses();

  const Config& config_;
  const FollowConfig& follow_;
  const FollowOptions& options_;
  TrainSession run_;
  int64_t from_ms_ = 0;
  int64_t delay_max_s_ = 0;
  PassLedger ledger_;
};

Status Follower::Run() {
  GRAB_ASSIGN_OR_RETURN(from_ms_, ParseTimeMs(follow_.from));
  GRAB_RETURN_IF_ERROR(run_.Open(nullptr));
  GRAB_ASSIGN_OR_RETURN(ledger_, PassLedger::Load(run_.Path("passes.json")));
  GRAB_RETURN_IF_ERROR(RemoveLostReleases());
  const int64_t first_pass = counters().pass;
  // A run that was killed right after a pass still owes its release.
  if (counters().step > 0 && counters().stage == 0 && counters().batches_in_stage == 0) {
    GRAB_RETURN_IF_ERROR(Release());
  }
  while (options_.passes_max == 0 || counters().pass - first_pass < options_.passes_max) {
    const TimeRange pass = PassRange(counters().pass);
    GRAB_ASSIGN_OR_RETURN(const bool ready, Wait(pass));
    if (!ready) break;
    GRAB_RETURN_IF_ERROR(RunPass(pass));
  }
  return absl::OkStatus();
}

StatusOr<bool> Follower::Wait(const TimeRange& pass) {
  const int64_t ready_ms = pass.to_ms + follow_.lateness_s * 1000;
  while (true) {
    // Labels become final up to delay_max_s after the last request, and feedback without a delay
    // may come in the range after it.
    const int64_t look_from_ms = pass.from_ms - (delay_max_s_ + follow_.range_s) * 1000;
    GRAB_ASSIGN_OR_RETURN(const std::optional<int64_t> newest_ms, LogEnd(config_, look_from_ms));
    if (options_.log_ended) return newest_ms.has_value();
    if (newest_ms.has_value() && *newest_ms >= ready_ms) return true;
    run_.progress().Begin(absl::StrCat("wait for the log to reach ", FormatTimeMs(ready_ms)), "",
                          0);
    std::this_thread::sleep_for(std::chrono::duration<double>(follow_.poll_s));
    run_.progress().End("");
  }
}

Status Follower::RunPass(const TimeRange& pass) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, Prepare(pass));
  GRAB_RETURN_IF_ERROR(LookBack(*shards, pass));
  // Once training has begun, the model is no longer the one that was released before the pass.
  if (counters().stage == 0 && counters().batches_in_stage == 0) {
    GRAB_RETURN_IF_ERROR(Evaluate(*shards, pass));
  }
  GRAB_RETURN_IF_ERROR(Train(*shards, pass));
  return EndPass();
}

// The shards of a pass are kept until it is done: a resumed run must find the very same batches,
// whatever the log has become.
StatusOr<std::unique_ptr<ShardSet>> Follower::Prepare(const TimeRange& pass) {
  const std::string dir = PassDir(pass);
  if (!Exists(dir)) {
    GRAB_ASSIGN_OR_RETURN(
        const PrepareReport report,
        PrepareRange(config_, pass, follow_.context_s * 1000, dir, run_.progress()));
    GRAB_RETURN_IF_ERROR(run_.log().Write({{"event", "pass"},
                                           {"pass", counters().pass},
                                           {"from_ms", pass.from_ms},
                                           {"to_ms", pass.to_ms},
                                           {"events", report.events},
                                           {"targets", report.targets[1]},
                                           {"left_out", report.left_out.total()},
                                           {"seconds", report.wall_s}}));
  }
  return ShardSet::Open(dir);
}

Status Follower::LookBack(const ShardSet& shards, const TimeRange& pass) {
  GRAB_ASSIGN_OR_RETURN(
      const LateEvents late,
      ledger_.Add(shards, pass, KnownRange(config_, pass, follow_.context_s * 1000)));
  if (late.late == 0 && late.gone == 0 && late.passes_changed == 0) return absl::OkStatus();
  return run_.log().Write({{"event", "late"},
                           {"pass", counters().pass},
                           {"late", late.late},
                           {"gone", late.gone},
                           {"passes_changed", late.passes_changed}});
}

Status Follower::Evaluate(const ShardSet& shards, const TimeRange& pass) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores,
                        run_.Score(shards, Stage::kJoint, {Split::kTrain, false}, run_.progress()));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, grab::Evaluate(scores, config_.eval));
  const std::string path = run_.Path("progressive.jsonl");
  GRAB_RETURN_IF_ERROR(RecordPass(path, MakePassMetrics(pass, report)));
  GRAB_ASSIGN_OR_RETURN(const std::vector<PassMetrics> passes, ReadPasses(path));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(run_.Path("auc.svg"), RenderSvg(AucOverTime(passes))));
  return WriteFileDurably(run_.Path("pcoc.svg"), RenderSvg(PcocOverTime(passes)));
}

Status Follower::Train(const ShardSet& shards, const TimeRange& pass) {
  const auto targets = static_cast<int64_t>(CountTargets(shards, Split::kTrain));
  if (counters().warmup_targets == 0) {
    counters().warmup_targets = std::max<int64_t>(
        1, std::llround(run_.train().warmup_fraction * static_cast<double>(targets)));
  }
  const Slice whole = {Split::kTrain, std::numeric_limits<int64_t>::min(),
                       std::numeric_limits<int64_t>::max(), targets};
  const std::string label =
      absl::StrCat("train ", ModelKindName(run_.spec().kind), " from ", FormatTimeMs(pass.from_ms));
  const auto stages = static_cast<int64_t>(run_.stages().size());
  LoadedBlocks blocks(shards);
  for (; counters().stage < stages; ++counters().stage, counters().batches_in_stage = 0) {
    GRAB_RETURN_IF_ERROR(run_.RunStage(blocks, whole,
                                       {label, [&](const Batch& batch) { return Rates(batch); },
                                        [] { return true; }})
                             .status());
  }
  counters().stage = 0;
  return absl::OkStatus();
}

// There is no end to decay towards: rates rise over the share of the first pass that
// warmup_fraction is, then stay.
RateFactors Follower::Rates(const Batch& batch) {
  const int64_t trained =
      batch.full.rows + (TrainsModel(run_.stage()) ? counters().targets : counters().table_targets);
  const double factor =
      std::min(1.0, static_cast<double>(trained) / static_cast<double>(counters().warmup_targets));
  return {factor, factor};
}

Status Follower::EndPass() {
  ++counters().pass;
  GRAB_RETURN_IF_ERROR(ledger_.Save(run_.Path("passes.json")));
  GRAB_ASSIGN_OR_RETURN(const bool saved, run_.SaveCheckpoint());
  GRAB_RETURN_IF_ERROR(Release());
  // Where the checkpoint of this step was there already, it stands before this pass, which had
  // nothing to train; its shards go with a later one.
  return saved ? RemoveOldPasses() : absl::OkStatus();
}

// What no server can load (IsServed) is trained and scored, not released.
Status Follower::Release() {
  if (!IsServed(run_.spec().kind)) return absl::OkStatus();
  const bool full = (counters().pass - 1) % follow_.full_every == 0;
  GRAB_ASSIGN_OR_RETURN(
      const std::string dir,
      WriteRelease(run_.state(), run_.spec(), full, follow_.releases_kept, run_.Path("releases")));
  return run_.log().Write({{"event", "release"}, {"step", counters().step}, {"dir", dir}});
}

// Where the newest checkpoint is damaged, training goes on from an older one. What was released
// since is of a state that is lost, and must not be what a delta builds on.
Status Follower::RemoveLostReleases() {
  const std::string dir = run_.Path("releases");
  if (!Exists(dir)) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::vector<std::string> removed,
                        RemoveCheckpointsAfter(dir, static_cast<uint64_t>(counters().step)));
  for (const std::string& lost : removed) {
    GRAB_RETURN_IF_ERROR(
        run_.log().Write({{"event", "release_removed"}, {"step", counters().step}, {"dir", lost}}));
  }
  return absl::OkStatus();
}

Status Follower::RemoveOldPasses() {
  GRAB_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(run_.Path("")));
  const std::string next = absl::StrCat(kPassPrefix, PassRange(counters().pass).from_ms);
  for (const std::string& name : names) {
    if (name.rfind(kPassPrefix, 0) != 0 || name == next) continue;
    GRAB_RETURN_IF_ERROR(RemoveAll(run_.Path(name)));
  }
  return absl::OkStatus();
}

}  // namespace

Status Follow(const Config& config, const FollowOptions& options, Progress& progress) {
  if (config.follow.from.empty()) {
    return absl::InvalidArgumentError(
        "follow.from: --follow needs the time its first pass starts at");
  }
  // No pass over a log that grows sees a label again: the tables go on.
  Config followed = config;
  RunConfigOf(followed, options.session.kind).train.restart_tables = false;
  GRAB_ASSIGN_OR_RETURN(const Schema schema, Schema::FromConfig(followed));
  GRAB_ASSIGN_OR_RETURN(ModelSpec spec,
                        ModelSpec::FromConfig(followed, options.session.kind, schema));
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.session.out_dir));
  InstallTensorMemory();
  return Follower(followed, options, std::move(spec), progress).Run();
}

}  // namespace grab
