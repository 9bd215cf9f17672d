#include "server/canary.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "eval/joined_scores.h"
#include "eval/score_split.h"
#include "model/forward.h"
#include "serve/precision_check.h"

namespace grab {

StatusOr<std::unique_ptr<Canary>> Canary::Open(const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(std::unique_ptr<ShardSet> shards, ShardSet::Open(dir));
  uint64_t events = 0;
  for (const ShardSet::BlockRef& block : shards->blocks()) events += shards->info(block).events;
  if (events > kCanaryEventsMax) {
    return absl::InvalidArgumentError(absl::StrCat(dir, ": expected at most ", kCanaryEventsMax,
                                                   " events of a canary, got ", events));
  }
  return std::unique_ptr<Canary>(new Canary(dir, std::move(shards)));
}

// Logits of f32 agree to 1e-4 whatever the order of sums, probabilities to a quarter of it. A
// rounding of 2^-9 of every weight and row may move a confident score by hundredths.
double Canary::Tolerance(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return 1e-4;
    case Precision::kBf16:
      return 0.03;
    case Precision::kInt8:
      return 0.1;
  }
  return 0.0;
}

Status Canary::Check(const ServedModel& model) const {
  const Model& loaded = model.loaded.model;
  if (!(shards_->schema() == loaded.spec.tokens.schema)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "canary ", dir_, ": its fields, actions or tasks are not those of ", model.loaded.dir));
  }
  const EvalConfig config;
  GRAB_ASSIGN_OR_RETURN(const ScoreTable got, ScoreThroughEngine(*model.packed, *shards_, config,
                                                                 Split::kTest, NoProgress()));
  if (got.rows() == 0) {
    return absl::FailedPreconditionError(absl::StrCat("canary ", dir_, ": no test targets"));
  }
  if (!std::all_of(got.p.begin(), got.p.end(), [](float p) { return std::isfinite(p); })) {
    return absl::FailedPreconditionError(
        absl::StrCat("canary ", dir_, ": a score is not a number"));
  }
  const std::string recorded = absl::StrFormat("%s.csv", CheckpointPath(dir_, model.loaded.step));
  ScoreTable expected;
  if (Exists(recorded)) {
    GRAB_ASSIGN_OR_RETURN(expected, ReadScores(recorded));
  } else {
    Forward forward(loaded, 1);
    GRAB_ASSIGN_OR_RETURN(
        expected, ScoreSplit(
                      *shards_, loaded.spec, config, {Split::kTest, false},
                      [&](const Batch& batch) { return forward.Logits(batch); }, NoProgress()));
  }
  const double tolerance = Tolerance(model.loaded.precision);
  for (const std::string& task : got.tasks) {
    GRAB_ASSIGN_OR_RETURN(const ScoreDiff diff, CompareScores(got, expected, task));
    if (diff.p_diff_max <= tolerance) continue;
    return absl::FailedPreconditionError(absl::StrFormat(
        "canary %s: task %s, event %d: a score differs by %.3g from what is expected, %.3g is "
        "allowed",
        dir_, task, diff.event_id_of_max, diff.p_diff_max, tolerance));
  }
  return absl::OkStatus();
}

}  // namespace grab
