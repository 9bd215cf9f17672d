// Scores of every target of a split by any forward: the one loop that training, `grab score` and
// tests share.
#pragma once

#include <functional>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "batch/stream.h"
#include "config/settings.h"
#include "eval/scores.h"
#include "model/spec.h"

namespace grab {

// Logits [batch.full.rows, tasks] of a batch.
using BatchForward = std::function<StatusOr<std::vector<float>>(const Batch&)>;

struct ScoreOptions {
  Split split = Split::kTest;
  // Nothing known at or after the first request of the split counts as history (DESIGN 4,
  // "Metrics": the trap of user-level GAUC).
  bool frozen = false;
};

// Logits [targets, tasks] of targets of one user, indices into the block in ascending order.
using UserForward = std::function<Status(const UserBlock& block, uint32_t user,
                                         const std::vector<uint32_t>& targets, float* logits)>;

// An empty table for the scores of `spec` by config.slices.
ScoreTable MakeScoreTable(const ModelSpec& spec, const EvalConfig& config);

// Appends the scores of what is left of `stream`, whose batches carry the slices of `table`.
Status ScoreStream(BatchStream& stream, const BatchForward& forward, Progress& progress,
                   ScoreTable& table);

// Scores on whole timelines, in shard order.
StatusOr<ScoreTable> ScoreSplit(const ShardSet& shards, const ModelSpec& spec,
                                const EvalConfig& config, const ScoreOptions& options,
                                const BatchForward& forward, Progress& progress);

// The same, user by user, by a forward that reads events itself: the serving engine's, the trees'.
// With `frozen` history lengths are as of the start; the rest is the forward's.
StatusOr<ScoreTable> ScoreSplitByUser(const ShardSet& shards, const ModelSpec& spec,
                                      const EvalConfig& config, const ScoreOptions& options,
                                      const UserForward& forward, Progress& progress);

// The first request among the targets of `split`; the largest int64_t if there are none.
StatusOr<int64_t> FirstRequestMs(const ShardSet& shards, Split split);

}  // namespace grab
