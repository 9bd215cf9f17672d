// [[source]]: log files as DuckDB views.
//
// A view has the columns of its files. Where the config's SQL mentions grab_row, or file order is
// needed, it also has grab_row: the row's position, from 1, over the source's files in the order of
// their names. Format text gives logid, userid, adid (VARCHAR), clk (BOOLEAN), timestamp (BIGINT)
// and signs (a list of {sign, slot}); slot(signs, n) is the list of the signs of slot n. Format
// json gives the keys of the objects, one per line.
//
// With prepare.permute_feedback the values of a source's feedback columns stand in other rows of
// the source, together, as the seed says; everything the config's SQL makes of them follows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "data/duckdb.h"
#include "data/reasons.h"

namespace grab {

// The column of row positions, from 1 over a source's files in the order of their names.
inline constexpr char kRowColumn[] = "grab_row";

struct LogView {
  std::string name;
  std::vector<std::string> columns;  // without grab_row
  bool has_row = false;
  std::string count_hidden;  // SQL of the number of rows hidden by [[source]].time_ms; or empty
};

// The source whose rows `from` starts with, and the name by which SQL refers to them; both empty
// when it starts with something else.
struct FirstRelation {
  std::string source;
  std::string alias;
};
FirstRelation FindFirstRelation(const Config& config, const std::string& from);

// Creates the views of all sources, and slot(). With `end_ms` they show what is known before then:
// not the rows whose [[source]].time_ms is later or missing. grab_row counts hidden rows too.
StatusOr<std::vector<LogView>> CreateLogViews(const Config& config,
                                              const std::optional<int64_t>& end_ms, DuckDb& db);

// Lines that no view shows: CSV lines that queries run so far could not parse, malformed lines of
// text and JSON.
Status CountBadLines(const Config& config, DuckDb& db, Reasons& rejects);

}  // namespace grab
