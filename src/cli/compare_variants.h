// The job that `grab compare` and `grab ablate` share: variants of models over seeds, on the same
// rows.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace grab {

// Makes the shards, checks them (leak_checks.h) and trains every variant with every seed, seed by seed, so that what there is
// when it is stopped can be compared; then holds the variants against the one named `reference`,
// prints the table and writes comparison.json and comparison.md. A run that fails does not stop the
// others, nor does a check; at the end either is an error. With `permute` the reference, and trees
// where they are asked for, are trained on permuted feedback too: the reference reads all that
// models of tokens read, by the same code, and trees count events by their own.
Status CompareVariants(const Job& job, const std::vector<Variant>& variants,
                       const std::string& reference, bool permute);

}  // namespace grab
