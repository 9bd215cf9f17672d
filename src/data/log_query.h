// [[events]]: the one query whose rows, sorted by user, known time and log order, become the
// events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "data/duckdb.h"
#include "data/log_views.h"
#include "data/schema.h"
#include "data/time_range.h"

namespace grab {

// Columns of the query; -1: not there, because no [[events]] gives it.
struct LogQuery {
  std::string sql;
  int user = -1;          // BIGINT or VARCHAR, as are event_id, page and session
  int events_index = -1;  // INTEGER, into Config::events; missing when there is only one
  int request_time = -1;  // BIGINT; NULL where it does not parse
  int known_time = -1;    // BIGINT; missing: request_time
  int event_id = -1;
  int page = -1;
  int session = -1;
  int split = -1;      // VARCHAR
  int duplicate = -1;  // UBIGINT hash of duplicate_key, NULL: never a duplicate
  int order = -1;      // UBIGINT hash of `order`, NULL where grab_row orders the rows
  int actions = -1;    // UINTEGER bits, as are the next three
  int actions_known = -1;
  int labels = -1;
  int labels_known = -1;
  struct Field {
    int values =
        -1;  // id: BIGINT or VARCHAR; ids: a list of them; number: FLOAT; dense: a list of FLOAT
    int weights = -1;       // a list of FLOAT
    bool integers = false;  // id and ids: BIGINT
  };
  std::vector<Field> fields;         // in Schema::fields order
  std::vector<bool> gives_event_id;  // per Config::events
  std::vector<std::string>
      count_filtered;  // SQL of the number of rows that `where` removes, where given
  // With a range, per [[events]]: SQL of the numbers of rows known before it, after it, and without
  // a known time (three BIGINTs). Those are in neither `sql` nor `count_filtered`.
  std::vector<std::string> count_left_out;
};

// Checks the expressions against the views. Errors name the [[events]] and the expression.
// With `known`, rows known in that range only: where the known time is a plain integer column, the
// statistics of Parquet files spare DuckDB the others.
StatusOr<LogQuery> BuildLogQuery(const Config& config, const Schema& schema,
                                 const std::vector<LogView>& views,
                                 const std::optional<TimeRange>& known, DuckDb& db);

// SQL of the newest request time (BIGINT, NULL: none) at or after `from_ms`, over all [[events]].
// Spares DuckDB older rows as BuildLogQuery does.
StatusOr<std::string> NewestRequestSql(const Config& config, int64_t from_ms, DuckDb& db);

}  // namespace grab
