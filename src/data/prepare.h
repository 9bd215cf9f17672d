// Raw log to shards: [[source]] files become DuckDB views, [[events]] queries over them are sorted
// by user, known time and log order within a memory limit, and the rows become user-sliced shards
// (shard.h).
//
// Times are evaluated under TRY and cast to BIGINT: where that fails, the row is rejected and
// counted. Any other expression that fails on a row (a cast, say) fails the whole of Prepare;
// TRY_CAST in the config makes such values missing.
//
// Nothing vanishes silently: every row ends as an event or is counted by reason in report.json. The
// same input and config give the same shards, byte by byte, whatever the threads.
#pragma once

#include <cstdint>
#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"
#include "data/reasons.h"

namespace grab {

inline constexpr char kReportName[] = "report.json";

struct PrepareReport {
  uint64_t rows_read = 0;      // rows of the queries, filtered rows and unreadable lines
  uint64_t rows_filtered = 0;  // by [[events]].where
  Reasons rejects;             // rows that cannot be used
  Reasons notes;  // duplicates dropped, events truncated, ids cut, targets made context
  uint64_t users = 0;
  uint64_t events = 0;
  uint64_t targets[4] = {0, 0, 0, 0};  // events per Split
  std::string rows_hash;
  uint64_t size_bytes = 0;  // of the shards
  double wall_s = 0.0;

  std::string ToJson() const;
};

// Writes shards, report.json and manifest.json into `out_dir`, which must not exist; it appears
// only when complete. Errors: InvalidArgument for a config or log that does not fit, and when more
// than bad_fraction_max of the rows are rejected (then `out_dir`.tmp keeps report.json, which says
// why); NotFound for files; AlreadyExists for `out_dir`.
StatusOr<PrepareReport> Prepare(const Config& config, const std::string& out_dir,
                                Progress& progress);

}  // namespace grab
