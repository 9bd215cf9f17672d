// Model outputs of packed batches to score tables.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "batch/batch.h"
#include "eval/scores.h"

namespace grab {

ScoreTable MakeScoreTable(const std::vector<std::string>& tasks,
                          const std::vector<std::string>& slices);

// Appends the full rows of `batch` with their probabilities p [rows, tasks].
void AppendScores(const Batch& batch, absl::Span<const float> p, ScoreTable& table);

}  // namespace grab
