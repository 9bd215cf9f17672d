// What shards hold, reduced to what `grab report` draws: how much is known of users, how labels
// move with time, and how much of the test is new.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "data/shard.h"
#include "eval/cold_rows.h"
#include "eval/curves.h"

namespace grab {

inline constexpr size_t kProfileTimeBinsMax = 60;

struct LabelCounts {
  uint64_t rows = 0;  // targets whose label is known
  uint64_t positives = 0;
};

struct TaskOverTime {
  std::string task;
  std::vector<LabelCounts> bins;  // as DataProfile::time
};

// Test rows whose value of an id field is in no event requested before the first test row.
struct ColdField {
  std::string field;
  std::optional<uint64_t> cold_rows;  // nullopt: more than kColdValuesMax values
};

struct DataProfile {
  uint64_t users = 0;
  uint64_t events = 0;
  uint64_t targets[4] = {0, 0, 0, 0};     // events per Split
  std::vector<uint64_t> users_by_events;  // [b]: users of 2^b to 2^(b+1) - 1 events
  TimeBins time;                          // of all requests; count 0 without events
  std::vector<TaskOverTime> tasks;        // of training, validation and test targets
  std::optional<int64_t> test_from_ms;    // request of the first test row; nullopt: there is none
  uint64_t new_user_rows = 0;    // test rows of users of whom no event is known before test_from_ms
  uint64_t no_history_rows = 0;  // test rows with no event of the user known before the request
  std::vector<ColdField> fields;  // in the order asked for
};

// Reads every block once, and for cold rows as FindColdRows does. `item_fields` are id fields of
// the schema; another name is an InvalidArgument.
StatusOr<DataProfile> ProfileData(const ShardSet& shards,
                                  const std::vector<std::string>& item_fields, Progress& progress);

}  // namespace grab
