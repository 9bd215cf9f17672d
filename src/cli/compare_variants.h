// The job that `grab compare` and `grab ablate` share: variants of models over seeds, on the same
// rows.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace grab {

// Makes the shards and trains every variant with every seed, seed by seed, so that what there is
// when it is stopped can be compared; then holds the variants against the one named `reference`,
// prints the table and writes comparison.json, comparison.md and, of the first GRAB, attention.json
// (grab attention). A run that fails does not stop the others; at the end it is an error.
Status CompareVariants(const Job& job, const std::vector<Variant>& variants,
                       const std::string& reference);

}  // namespace grab
