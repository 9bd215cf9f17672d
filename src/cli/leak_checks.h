// The checks of `grab compare`: that nothing of the answer reaches the question.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/comparison.h"
#include "cli/job.h"

namespace grab {

// Of the job's shards, which are made: that no field of candidates tells the label by itself, and,
// for each kind of model among `variants` that has history, that targets see what was known before
// their request only. With `permute` also the AUC of the variant named `reference`, and of trees
// where they are among `variants`, trained on the same log with feedback permuted among its rows:
// the reference reads all that models of tokens read, by the same code, and trees count events by
// their own. What is found is in the checks, a run that fails too; errors are of reading.
StatusOr<std::vector<Check>> CheckForLeaks(const Job& job, const std::vector<Variant>& variants,
                                           const std::string& reference, bool permute);

}  // namespace grab
