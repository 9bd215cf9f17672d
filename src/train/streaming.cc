#include "train/streaming.h"

#include <nlohmann/json.hpp>

namespace grab {
namespace {

// Tasks whose labels are final at the request.
uint32_t TasksWithoutDelay(const Config& config) {
  uint32_t bits = 0;
  for (size_t task = 0; task < config.tasks.size(); ++task) {
    if (config.tasks[task].delay_s == 0) bits |= uint32_t{1} << task;
  }
  return bits;
}

}  // namespace

StatusOr<ScoreTable> ScoreAndTrain(TrainSession& run, LoadedBlocks& blocks, Split split) {
  const StreamingConfig& streaming = run.train().streaming;
  GRAB_ASSIGN_OR_RETURN(const std::vector<Slice> slices,
                        CutTargets(blocks.shards(), split, streaming.slice_s));
  StageRun stage_run;
  stage_run.rates = [&](const Batch&) {
    return RateFactors{streaming.dense_rate, streaming.table_rate};
  };
  stage_run.after_step = [] { return true; };
  stage_run.checkpoints = false;
  stage_run.labels = TasksWithoutDelay(run.config());
  ScoreTable scores = MakeScoreTable(run.spec(), run.config().eval);
  RunCounters& now = run.counters();
  now.stage = 0;
  now.batches_in_stage = 0;
  GRAB_RETURN_IF_ERROR(run.log().Write({{"event", "streaming"},
                                        {"step", now.step},
                                        {"split", SplitName(split)},
                                        {"slices", slices.size()}}));
  for (size_t i = 0; i < slices.size(); ++i) {
    GRAB_RETURN_IF_ERROR(run.ScoreSlice(blocks, slices[i], scores));
    stage_run.label = absl::StrCat("streaming, slice ", i + 1, "/", slices.size());
    for (; now.stage < static_cast<int64_t>(run.stages().size()); ++now.stage) {
      GRAB_RETURN_IF_ERROR(run.RunStage(blocks, slices[i], stage_run).status());
      now.batches_in_stage = 0;
    }
    now.stage = 0;
    ++now.slice;
  }
  return scores;
}

}  // namespace grab
