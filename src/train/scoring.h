// Scores of a split by the training-side forward.
#pragma once

#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "batch/stream.h"
#include "config/settings.h"
#include "embedding/table.h"
#include "eval/batch_scores.h"
#include "train/net.h"

namespace grab {

// Scores every target of `split`, on whole timelines. `frozen`: nothing known at or after the first
// request of the split counts as history (DESIGN 4, "Metrics": the trap of user-level GAUC).
StatusOr<ScoreTable> ScoreSplit(const ShardSet& shards, const ModelSpec& spec, const Net& net,
                                const std::vector<EmbeddingTable>& tables, const EvalConfig& config,
                                Split split, bool frozen, Progress& progress);

}  // namespace grab
