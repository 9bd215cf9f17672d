#include "data/duckdb.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"

namespace grab {
namespace {

constexpr size_t kSqlShownMax = 600;

// DuckDB's messages start with the kind of error; its error codes are lost for pending queries.
absl::StatusCode CodeOf(absl::string_view message) {
  if (absl::StartsWith(message, "Out of Memory Error")) return absl::StatusCode::kResourceExhausted;
  if (absl::StartsWith(message, "IO Error")) return absl::StatusCode::kNotFound;
  if (absl::StartsWith(message, "INTERNAL Error") || absl::StartsWith(message, "FATAL Error")) {
    return absl::StatusCode::kInternal;
  }
  return absl::StatusCode::kInvalidArgument;
}

Status SqlError(const char* message, const std::string& sql) {
  const std::string text = message == nullptr ? "unknown error" : message;
  const bool cut = sql.size() > kSqlShownMax;
  return Status(CodeOf(text), absl::StrCat("DuckDB: ", text, "\n  in SQL: ",
                                           sql.substr(0, kSqlShownMax), cut ? " ..." : ""));
}

DuckType DescribeColumn(duckdb_prepared_statement statement, idx_t index) {
  DuckType column;
  const char* name = duckdb_prepared_statement_column_name(statement, index);
  column.name = name;
  duckdb_free(const_cast<char*>(name));
  duckdb_logical_type type = duckdb_prepared_statement_column_logical_type(statement, index);
  column.type = duckdb_get_type_id(type);
  if (column.type == DUCKDB_TYPE_LIST || column.type == DUCKDB_TYPE_ARRAY) {
    duckdb_logical_type element = column.type == DUCKDB_TYPE_LIST
                                      ? duckdb_list_type_child_type(type)
                                      : duckdb_array_type_child_type(type);
    column.element = duckdb_get_type_id(element);
    duckdb_destroy_logical_type(&element);
  }
  duckdb_destroy_logical_type(&type);
  return column;
}

}  // namespace

DuckQuery::~DuckQuery() {
  if (chunk_ != nullptr) duckdb_destroy_data_chunk(&chunk_);
  duckdb_destroy_result(&result_);
  if (statement_ != nullptr) duckdb_destroy_prepare(&statement_);
}

StatusOr<bool> DuckQuery::Next() {
  if (chunk_ != nullptr) duckdb_destroy_data_chunk(&chunk_);
  rows_ = 0;
  chunk_ = duckdb_fetch_chunk(result_);
  if (chunk_ == nullptr) {
    const char* message = duckdb_result_error(&result_);
    if (message == nullptr || *message == '\0') return false;
    return SqlError(message, sql_);
  }
  rows_ = duckdb_data_chunk_get_size(chunk_);
  return rows_ > 0;
}

DuckColumn DuckQuery::column(size_t index) const {
  GRAB_CHECK(chunk_ != nullptr && index < types_.size());
  return DuckColumn(duckdb_data_chunk_get_vector(chunk_, index));
}

DuckAppender::~DuckAppender() { duckdb_appender_destroy(&appender_); }

Status DuckAppender::Error() const {
  const char* message = duckdb_appender_error(appender_);
  return absl::InvalidArgumentError(absl::StrCat("DuckDB: appending to ", table_, ": ",
                                                 message == nullptr ? "unknown error" : message));
}

Status DuckAppender::EndRow() {
  Note(duckdb_appender_end_row(appender_));
  return failed_ ? Error() : absl::OkStatus();
}

Status DuckAppender::Close() {
  Note(duckdb_appender_close(appender_));
  return failed_ ? Error() : absl::OkStatus();
}

StatusOr<std::unique_ptr<DuckDb>> DuckDb::Open(const Options& options) {
  const std::pair<const char*, std::string> settings[] = {
      {"memory_limit", absl::StrCat(options.memory_limit_mb, "MiB")},
      {"threads", absl::StrCat(options.threads)},
      {"temp_directory", options.temp_dir},
      {"autoinstall_known_extensions", "false"},
      {"autoload_known_extensions", "false"},
  };
  duckdb_config config = nullptr;
  GRAB_CHECK(duckdb_create_config(&config) == DuckDBSuccess);
  for (const auto& [name, value] : settings) {
    if (duckdb_set_config(config, name, value.c_str()) == DuckDBSuccess) continue;
    duckdb_destroy_config(&config);
    return absl::InvalidArgumentError(
        absl::StrCat("DuckDB refuses the setting ", name, " = ", value));
  }
  std::unique_ptr<DuckDb> db(new DuckDb);
  char* message = nullptr;
  const duckdb_state opened = duckdb_open_ext(nullptr, &db->database_, config, &message);
  duckdb_destroy_config(&config);
  if (opened != DuckDBSuccess) {
    const std::string text = message == nullptr ? "unknown error" : message;
    duckdb_free(message);
    return absl::InternalError(absl::StrCat("DuckDB cannot open a database: ", text));
  }
  if (duckdb_connect(db->database_, &db->connection_) != DuckDBSuccess) {
    return absl::InternalError("DuckDB cannot connect to its own database");
  }
  GRAB_RETURN_IF_ERROR(db->Execute("SET TimeZone = 'UTC'"));
  GRAB_RETURN_IF_ERROR(db->Execute("SET enable_progress_bar = true"));
  GRAB_RETURN_IF_ERROR(db->Execute("SET enable_progress_bar_print = false"));
  return db;
}

DuckDb::~DuckDb() {
  duckdb_disconnect(&connection_);
  duckdb_close(&database_);
}

Status DuckDb::Execute(const std::string& sql) {
  duckdb_result result = {};
  const duckdb_state state = duckdb_query(connection_, sql.c_str(), &result);
  Status status;
  if (state != DuckDBSuccess) {
    status = SqlError(duckdb_result_error(&result), sql);
  }
  duckdb_destroy_result(&result);
  return status;
}

// Runs the query on this thread (and DuckDB's own) until its first chunk is ready.
Status DuckDb::RunPending(DuckQuery& query, const std::function<void(double)>& on_progress) {
  duckdb_pending_result pending = nullptr;
  Status status;
  if (duckdb_pending_prepared_streaming(query.statement_, &pending) == DuckDBSuccess) {
    uint64_t steps = 0;
    duckdb_pending_state state = DUCKDB_PENDING_RESULT_NOT_READY;
    while (state != DUCKDB_PENDING_ERROR && !duckdb_pending_execution_is_finished(state)) {
      state = duckdb_pending_execute_task(pending);
      if (on_progress && ++steps % 64 == 0) {
        on_progress(std::max(0.0, duckdb_query_progress(connection_).percentage));
      }
      if (state == DUCKDB_PENDING_NO_TASKS_AVAILABLE) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    if (state == DUCKDB_PENDING_ERROR) {
      status = SqlError(duckdb_pending_error(pending), query.sql_);
    } else if (duckdb_execute_pending(pending, &query.result_) != DuckDBSuccess) {
      status = SqlError(duckdb_result_error(&query.result_), query.sql_);
    }
  } else {
    status = SqlError(duckdb_pending_error(pending), query.sql_);
  }
  duckdb_destroy_pending(&pending);
  return status;
}

StatusOr<std::unique_ptr<DuckQuery>> DuckDb::Query(const std::string& sql,
                                                   const std::function<void(double)>& on_progress) {
  std::unique_ptr<DuckQuery> query(new DuckQuery);
  query->sql_ = sql;
  if (duckdb_prepare(connection_, sql.c_str(), &query->statement_) != DuckDBSuccess) {
    return SqlError(duckdb_prepare_error(query->statement_), sql);
  }
  GRAB_RETURN_IF_ERROR(RunPending(*query, on_progress));
  const idx_t columns = duckdb_column_count(&query->result_);
  for (idx_t i = 0; i < columns; ++i) {
    query->names_.emplace_back(duckdb_column_name(&query->result_, i));
    query->types_.push_back(duckdb_column_type(&query->result_, i));
  }
  return query;
}

StatusOr<std::vector<DuckType>> DuckDb::Describe(const std::string& sql) {
  duckdb_prepared_statement statement = nullptr;
  Status status;
  std::vector<DuckType> types;
  if (duckdb_prepare(connection_, sql.c_str(), &statement) != DuckDBSuccess) {
    status = SqlError(duckdb_prepare_error(statement), sql);
  } else {
    const idx_t columns = duckdb_prepared_statement_column_count(statement);
    for (idx_t i = 0; i < columns; ++i) types.push_back(DescribeColumn(statement, i));
  }
  duckdb_destroy_prepare(&statement);
  if (!status.ok()) return status;
  return types;
}

StatusOr<int64_t> DuckDb::QueryInt64(const std::string& sql) {
  GRAB_ASSIGN_OR_RETURN(auto query, Query(sql));
  GRAB_CHECK(query->columns() == 1 && query->type(0) == DUCKDB_TYPE_BIGINT);
  GRAB_ASSIGN_OR_RETURN(const bool more, query->Next());
  if (!more || query->rows() != 1 || !query->column(0).valid(0)) {
    return absl::InvalidArgumentError(absl::StrCat("expected one value from SQL: ", sql));
  }
  return query->column(0).Get<int64_t>(0);
}

StatusOr<std::unique_ptr<DuckAppender>> DuckDb::Append(const std::string& table) {
  std::unique_ptr<DuckAppender> appender(new DuckAppender);
  appender->table_ = table;
  if (duckdb_appender_create(connection_, nullptr, table.c_str(), &appender->appender_) !=
      DuckDBSuccess) {
    return appender->Error();
  }
  return appender;
}

std::string SqlIdentifier(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

std::string SqlString(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}

}  // namespace grab
