// DuckDB behind RAII and Status: an in-memory database, statements, streamed results with typed
// columns, an appender. Values follow DuckDB's C types (duckdb_list_entry, duckdb_string_t ...);
// NULL rows hold unspecified values.
#pragma once

#include <duckdb.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

// One column of the current chunk, or the elements of a list column. Valid until the query moves
// on.
class DuckColumn {
 public:
  DuckColumn() = default;
  explicit DuckColumn(duckdb_vector vector)
      : vector_(vector),
        data_(duckdb_vector_get_data(vector)),
        validity_(duckdb_vector_get_validity(vector)) {}

  bool valid(uint64_t row) const {
    return validity_ == nullptr || (validity_[row >> 6] >> (row & 63) & 1) != 0;
  }
  // T is the C type of the column: int64_t for BIGINT, float for FLOAT, bool for BOOLEAN, ...
  template <class T>
  T Get(uint64_t row) const {
    return static_cast<const T*>(data_)[row];
  }
  // VARCHAR and BLOB.
  absl::string_view GetString(uint64_t row) const {
    auto* text = static_cast<duckdb_string_t*>(data_) + row;
    return {duckdb_string_t_data(text), duckdb_string_t_length(*text)};
  }
  // LIST: elements [offset, offset + length) of Elements().
  duckdb_list_entry GetList(uint64_t row) const { return Get<duckdb_list_entry>(row); }
  DuckColumn Elements() const { return DuckColumn(duckdb_list_vector_get_child(vector_)); }

 private:
  duckdb_vector vector_ = nullptr;
  void* data_ = nullptr;
  uint64_t* validity_ = nullptr;
};

// A running SELECT; must not outlive its database. One query at a time per DuckDb.
class DuckQuery {
 public:
  ~DuckQuery();
  DuckQuery(const DuckQuery&) = delete;
  DuckQuery& operator=(const DuckQuery&) = delete;

  size_t columns() const { return types_.size(); }
  duckdb_type type(size_t column) const { return types_[column]; }
  const std::string& name(size_t column) const { return names_[column]; }

  // Moves to the next chunk; false at the end.
  StatusOr<bool> Next();
  uint64_t rows() const { return rows_; }
  DuckColumn column(size_t index) const;

 private:
  friend class DuckDb;
  DuckQuery() = default;
  std::string sql_;
  duckdb_prepared_statement statement_ = nullptr;
  duckdb_result result_ = {};
  duckdb_data_chunk chunk_ = nullptr;
  uint64_t rows_ = 0;
  std::vector<std::string> names_;
  std::vector<duckdb_type> types_;
};

// Appends rows to a table: a value per column in order, then EndRow. The first error is kept and
// returned by EndRow and Close; Close must be called.
class DuckAppender {
 public:
  ~DuckAppender();
  DuckAppender(const DuckAppender&) = delete;
  DuckAppender& operator=(const DuckAppender&) = delete;

  void Append(bool value) { Note(duckdb_append_bool(appender_, value)); }
  void Append(int32_t value) { Note(duckdb_append_int32(appender_, value)); }
  void Append(int64_t value) { Note(duckdb_append_int64(appender_, value)); }
  void Append(uint64_t value) { Note(duckdb_append_uint64(appender_, value)); }
  void Append(float value) { Note(duckdb_append_float(appender_, value)); }
  void Append(double value) { Note(duckdb_append_double(appender_, value)); }
  void Append(absl::string_view value) {
    Note(duckdb_append_varchar_length(appender_, value.data(), value.size()));
  }
  void Append(const char* value) { Append(absl::string_view(value)); }
  void AppendNull() { Note(duckdb_append_null(appender_)); }
  Status EndRow();
  Status Close();

 private:
  friend class DuckDb;
  DuckAppender() = default;
  void Note(duckdb_state state) { failed_ = failed_ || state != DuckDBSuccess; }
  Status Error() const;
  std::string table_;
  duckdb_appender appender_ = nullptr;
  bool failed_ = false;
};

// Type of a column before it runs; `element` is that of a LIST's or ARRAY's values, INVALID for
// others.
struct DuckType {
  std::string name;  // of the column
  duckdb_type type = DUCKDB_TYPE_INVALID;
  duckdb_type element = DUCKDB_TYPE_INVALID;
};

class DuckDb {
 public:
  struct Options {
    int64_t memory_limit_mb = 1024;
    int64_t threads = 1;
    std::string temp_dir;  // where it spills; empty: spilling is an error
  };
  // Extensions are neither loaded nor installed; the time zone is UTC.
  static StatusOr<std::unique_ptr<DuckDb>> Open(const Options& options);
  ~DuckDb();
  DuckDb(const DuckDb&) = delete;
  DuckDb& operator=(const DuckDb&) = delete;

  // Errors carry DuckDB's message and the start of the SQL: InvalidArgument for bad SQL or data,
  // NotFound for files that cannot be opened, ResourceExhausted for memory or disk, Internal
  // otherwise.
  Status Execute(const std::string& sql);
  // `on_progress`, if any, hears now and then which share of the work before the first row is done,
  // 0 to 100.
  StatusOr<std::unique_ptr<DuckQuery>> Query(
      const std::string& sql, const std::function<void(double)>& on_progress = nullptr);
  // The columns that a SELECT would have.
  StatusOr<std::vector<DuckType>> Describe(const std::string& sql);
  // The one value of a query of one row and one BIGINT column; NULL is an error.
  StatusOr<int64_t> QueryInt64(const std::string& sql);
  StatusOr<std::unique_ptr<DuckAppender>> Append(const std::string& table);

 private:
  DuckDb() = default;
  duckdb_database database_ = nullptr;
  Status RunPending(DuckQuery& query, const std::function<void(double)>& on_progress);

  duckdb_connection connection_ = nullptr;
};

// "name" and 'text' as SQL reads them.
std::string SqlIdentifier(absl::string_view name);
std::string SqlString(absl::string_view text);

}  // namespace grab
