// What the users of the test leave open of a comparison.
#pragma once

#include "base/status.h"
#include "cli/comparison.h"
#include "cli/job.h"

namespace grab {

// Fills users_95 of the models that are held against the reference, from the test scores in the
// folders of the job's runs.
Status AddUserSpread(const Job& job, Comparison& comparison);

}  // namespace grab
