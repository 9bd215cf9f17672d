// `grab simulate`: the ad world as the Parquet files a user would have, plus the true
// probabilities. Files, columns and formulas: docs/simulator.md.
#pragma once

#include <cstdint>
#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"

namespace grab {

// Writes the world to the new folder `dir` (built as `dir`.tmp, which is replaced). The rows depend
// on the seed and on what shapes the world (days, ads_per_day, sessions_per_day) only: a user's
// rows are the same whatever the number of users. Memory: one chunk and all ads, whatever the
// number of users. Errors: InvalidArgument (a setting), AlreadyExists (`dir`), the file system's.
Status Simulate(const SimulateConfig& config, const std::string& dir, Progress& progress);

// AUC of the true click probability over the impressions of `dir` with request time in [from_ms,
// to_ms), exact, ties counted half: no model can be expected to rank better. InvalidArgument if
// they are not of both classes; DataLoss if one has no true probability.
StatusOr<double> TrueAuc(const std::string& dir, int64_t from_ms, int64_t to_ms);

}  // namespace grab
