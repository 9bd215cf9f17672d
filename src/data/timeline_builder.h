// Sorted log rows to users: checks every row, counts what it cannot use, resolves ties and
// duplicates, truncates.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/log_query.h"
#include "data/reasons.h"
#include "data/target_rule.h"
#include "data/timeline.h"

namespace grab {

struct RowCounts {
  uint64_t rows = 0;  // of the query
  Reasons rejects;    // rows that cannot be used
  Reasons notes;      // duplicates, truncated events, cut ids, targets without label
};

// Memory: one user's events, at most about twice user_events_max.
class TimelineBuilder {
 public:
  // Receives each user once: a block of one user whose pages and sessions are GroupKeys.
  using Sink = std::function<Status(UserBlock&)>;

  // All references must outlive the builder.
  TimelineBuilder(const Config& config, const Schema& schema, const LogQuery& query,
                  const TargetRule& rule, RowCounts& counts, Sink sink);

  // The current chunk of the query's rows.
  Status AddChunk(const DuckQuery& rows);
  // After the last chunk.
  Status Finish();

 private:
  struct Cells;  // the columns of a chunk
  struct RowHead {
    int64_t request_time_ms = 0;
    int64_t known_time_ms = 0;
    uint64_t event_id = 0;
    size_t events_index = 0;
    Split split = Split::kContext;
    uint32_t labels_that_count = 0;
  };
  // What a row of the current group of equal user and known time is known by.
  struct RowKey {
    size_t events_index = 0;
    uint64_t order = 0;
    bool tied = false;  // the log does not order it among rows of equal `order`
    bool has_duplicate = false;
    uint64_t duplicate = 0;
  };

  const char* ReadHead(const Cells& cells, uint64_t row, RowHead& head) const;
  const char* ReadSplit(const Cells& cells, uint64_t row, RowHead& head) const;
  const char* CheckFields(const Cells& cells, uint64_t row) const;
  const char* ReadUser(const Cells& cells, uint64_t row);
  Status AddRow(const Cells& cells, uint64_t row, const RowHead& head);
  void AppendRow(const Cells& cells, uint64_t row, const RowHead& head);
  void AppendField(const Cells& cells, uint64_t row, size_t f);
  void AppendKeys(const Cells& cells, uint64_t row, size_t f);
  void Reject(const char* reason, const Cells& cells, uint64_t row);
  void EndGroup();
  bool OrderTies(std::vector<uint32_t>& order) const;
  bool DropDuplicates(std::vector<uint32_t>& order);
  void RebuildGroup(const std::vector<uint32_t>& order);
  void KeepNewest(size_t events_max);
  void DropRepeatedIds();
  Status EndUser();

  const Config& config_;
  const Schema& schema_;
  const LogQuery& query_;
  const TargetRule& rule_;
  RowCounts& counts_;
  Sink sink_;
  size_t user_events_max_;
  std::vector<size_t> values_max_;  // per field

  std::string user_;           // of the open user; empty before the first
  std::string row_user_;       // of the row being read
  UserBlock block_;            // the open user's events; pages and sessions as HashId until EndUser
  std::vector<RowKey> group_;  // keys of the last rows of block_, those of equal known time
  uint64_t position_ = 0;      // of the last event in the sorted log
};

}  // namespace grab
