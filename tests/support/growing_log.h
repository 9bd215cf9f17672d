// A simulated world as a log that grows: `grab simulate` writes its files by user, here they are
// dealt out by time.
#pragma once

#include <string>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "data/duckdb.h"
#include "data/time_range.h"

namespace grab {

// Adds to `log_dir` what became known of `world_dir` in `known`: one Parquet file of impressions
// and one of conversions, their rows in no order, in row groups of 2048. Ads and users are added at
// the first call.
inline Status GrowLog(const std::string& world_dir, const TimeRange& known,
                      const std::string& log_dir) {
  GRAB_ASSIGN_OR_RETURN(auto db, DuckDb::Open({.memory_limit_mb = 1024, .threads = 1}));
  const auto copy = [&](const char* from, const std::string& where, const std::string& to) {
    return db->Execute(absl::StrCat(
        "COPY (SELECT * FROM read_parquet(", SqlString(JoinPath(world_dir, from)), ") ", where,
        ") TO ", SqlString(JoinPath(log_dir, to)), " (FORMAT parquet, ROW_GROUP_SIZE 2048)"));
  };
  if (!Exists(JoinPath(log_dir, "ads.parquet"))) {
    for (const char* folder : {"impressions", "conversions", "users"}) {
      GRAB_RETURN_IF_ERROR(MakeDirectories(JoinPath(log_dir, folder)));
    }
    GRAB_RETURN_IF_ERROR(copy("users/*.parquet", "", "users/part.parquet"));
    GRAB_RETURN_IF_ERROR(copy("ads.parquet", "", "ads.parquet"));
  }
  const auto grow = [&](const std::string& table, const char* time) {
    return copy(absl::StrCat(table, "/*.parquet").c_str(),
                absl::StrFormat("WHERE %s >= %d AND %s < %d ORDER BY hash(event_id)", time,
                                known.from_ms, time, known.to_ms),
                absl::StrFormat("%s/from-%d.parquet", table, known.from_ms));
  };
  GRAB_RETURN_IF_ERROR(grow("impressions", "known_time_ms"));
  return grow("conversions", "time_ms");
}

}  // namespace grab
