// Progressive evaluation of a finished run over fixed shards: what follow.h does with a growing
// log.
#pragma once

#include "base/status.h"
#include "batch/loaded_blocks.h"
#include "eval/scores.h"
#include "train/session.h"

namespace grab {

// Scores of the targets of `split`, slice by slice of request time (train.streaming): each by a
// model that was trained on the slices before it, in the stages of the run's mode. Changes the
// state of `run`, which writes no checkpoint meanwhile. A label of a task with a delay is not final
// when its slice is trained, and is not trained; the main task has none (CheckConfig).
StatusOr<ScoreTable> ScoreAndTrain(TrainSession& run, LoadedBlocks& blocks, Split split);

}  // namespace grab
