// The job that `grab compare`, `ablate` and `scale` share: variants of models over seeds, on the
// same rows.
#pragma once

#include <string>
#include <vector>

#include "cli/comparison.h"
#include "cli/job.h"

namespace grab {

// Trains every variant with every seed on the job's shards, seed by seed, so that what there is
// when it is stopped can be compared; then holds the variants against the one named `reference`. A
// run that fails is noted and does not stop the others.
StatusOr<Comparison> CompareVariants(const Job& job, const std::vector<Variant>& variants,
                                     const std::string& reference);

// Prints the table and writes comparison.json and comparison.md; that a run or a check failed is an
// error then.
Status WriteComparison(const Job& job, const Comparison& comparison);

}  // namespace grab
