// Raw log to shards: [[source]] files become DuckDB views, [[events]] queries over them are sorted
// by user, known time and log order within a memory limit, and the rows become user-sliced shards
// (shard.h).
//
// Times are evaluated under TRY and cast to BIGINT: where that fails, the row is rejected and
// counted. Any other expression that fails on a row (a cast, say) fails the whole of Prepare;
// TRY_CAST in the config makes such values missing.
//
// PrepareRange does the same for one pass over a log that grows: what was known before the pass's
// end, and no row more. It need not trust the log to end there: rows of a source with
// [[source]].time_ms are hidden from the pass's end on, and a label counts in the pass in which it
// becomes final (target_rule.h). So a log that is complete gives the shards that the log gave when
// it ended at the pass's end.
//
// Nothing vanishes silently: every row ends as an event or is counted by reason in report.json. The
// same input and config give the same shards, byte by byte, whatever the threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"
#include "data/reasons.h"
#include "data/time_range.h"

namespace grab {

inline constexpr char kReportName[] = "report.json";

// Rows that a pass has no use for. They may be read and counted, but become no events.
struct LeftOut {
  uint64_t before = 0;   // known before the context
  uint64_t after = 0;    // known at or after the pass's end
  uint64_t untimed = 0;  // without a known time, so in no range
  uint64_t hidden = 0;   // of all sources, by [[source]].time_ms

  uint64_t total() const { return before + after + untimed + hidden; }
};

struct PrepareReport {
  uint64_t rows_read = 0;      // rows of the queries, filtered rows and unreadable lines
  uint64_t rows_filtered = 0;  // by [[events]].where
  LeftOut left_out;            // by PrepareRange; not in rows_read
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

// Known times that a pass over `pass` reads: `context_ms` (0: everything) before the oldest request
// whose label can become final in `pass` by its delay, to the pass's end.
TimeRange KnownRange(const Config& config, const TimeRange& pass, int64_t context_ms);

// As Prepare, for the pass over `pass`: events known in KnownRange. Targets (Split::kTrain) are
// those of which a label becomes final in `pass`, whatever the times of [split]; their other labels
// are unknown. An event whose split expression says 'context' is none. [[events]] need an event_id,
// by which passes know events again. A pass without events is no error.
StatusOr<PrepareReport> PrepareRange(const Config& config, const TimeRange& pass,
                                     int64_t context_ms, const std::string& out_dir,
                                     Progress& progress);

// The newest request time of the raw log that is >= from_ms; nullopt: none is. NotFound while a
// source has no file. Reads no Parquet row group that ends before from_ms where request_time_ms is
// an integer column.
StatusOr<std::optional<int64_t>> LogEnd(const Config& config, int64_t from_ms);

}  // namespace grab
