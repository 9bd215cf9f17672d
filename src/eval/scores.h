// Score files: what a model predicted for each scoring target, as CSV (docs/formats/scores.md).
// Evaluation, comparison of two models and the check of serving against training all read them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/file.h"
#include "base/status.h"
#include "data/timeline.h"

namespace grab {

inline constexpr uint64_t kScoreRowsMax = 1ULL << 31;
inline constexpr uint64_t kScoreLineBytesMax = 64 << 10;
inline constexpr size_t kScoreSlicesMax = 256;

// Columns over n rows; T tasks, S slice columns.
struct ScoreTable {
  std::vector<std::string> tasks;   // 1 to kTasksMax names
  std::vector<std::string> slices;  // names of the slice columns
  std::vector<uint64_t> event_id;   // [n]
  std::vector<uint64_t> user_key;   // [n] HashId of the user id
  std::vector<uint64_t> page_id;    // [n] 0 = none
  std::vector<int64_t> request_time_ms;
  std::vector<uint32_t> history_len;  // [n] partial tokens of the first channel that the row sees
  std::vector<Split> split;
  std::vector<uint32_t> labels;        // [n] bit t: label of task t; 0 where unknown
  std::vector<uint32_t> labels_known;  // [n] bit t: whether it is known
  std::vector<float> p;                // [n][T] in [0, 1]
  std::vector<uint64_t> slice_values;  // [n][S] keys, 0 = missing

  size_t rows() const { return event_id.size(); }
  // Index of a task; -1 if absent.
  int TaskIndex(const std::string& name) const;
};

// One task of the rows whose label of it is known, in the table's order.
struct TaskScores {
  std::vector<size_t> row;  // [m] of the table
  std::vector<double> p;
  std::vector<uint8_t> label;
};
TaskScores ScoresOf(const ScoreTable& table, size_t task);

// One row, as in ScoreTable.
struct ScoreRow {
  uint64_t event_id = 0;
  uint64_t user_key = 0;
  uint64_t page_id = 0;
  int64_t request_time_ms = 0;
  uint32_t history_len = 0;
  Split split = Split::kTest;
  uint32_t labels = 0;
  uint32_t labels_known = 0;
  absl::Span<const float> p;                // [T]
  absl::Span<const uint64_t> slice_values;  // [S]
};

// Streams rows to `path`.tmp; Close syncs it and renames it to `path`. Destroyed unclosed, it
// removes what it wrote.
class ScoreWriter {
 public:
  // Names that CSV could not hold unquoted, or that are doubled, are an InvalidArgument.
  static StatusOr<std::unique_ptr<ScoreWriter>> Create(const std::string& path,
                                                       const std::vector<std::string>& tasks,
                                                       const std::vector<std::string>& slices);
  ~ScoreWriter();
  ScoreWriter(const ScoreWriter&) = delete;
  ScoreWriter& operator=(const ScoreWriter&) = delete;

  // The spans' lengths must be T and S. A p outside [0, 1] is an InvalidArgument and writes
  // nothing.
  Status Append(const ScoreRow& row);
  Status Close();

 private:
  ScoreWriter(std::string path, size_t tasks, size_t slices, std::unique_ptr<SequentialFile> file)
      : path_(std::move(path)), tasks_(tasks), slices_(slices), file_(std::move(file)) {}

  std::string path_;
  size_t tasks_;
  size_t slices_;
  uint64_t rows_ = 0;
  std::string line_;
  std::unique_ptr<SequentialFile> file_;  // null once closed
};

Status WriteScores(const std::string& path, const ScoreTable& table);

// Refuses what is not exactly the format; errors are "PATH:LINE: ...".
StatusOr<ScoreTable> ReadScores(const std::string& path);

}  // namespace grab
