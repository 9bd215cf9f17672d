// The checks of `grab compare`: that nothing of the answer reaches the question.
#pragma once

#include <vector>

#include "base/status.h"
#include "cli/comparison.h"
#include "cli/job.h"

namespace grab {

// Of the job's shards: that no field of candidates tells the label by itself, and, for each kind of
// model among `variants` that has history, that targets see what was known before their request
// only. Errors are of reading; what is found is in the checks.
StatusOr<std::vector<Check>> CheckShards(const Job& job, const std::vector<Variant>& variants);

// Trains `variant`, with its first seed, on the same log with feedback permuted among its rows:
// what it then finds in the test, beyond chance, was shown to it. A run that fails is a failed
// check.
StatusOr<Check> CheckPermuted(const Job& permuted, const Variant& variant);

}  // namespace grab
