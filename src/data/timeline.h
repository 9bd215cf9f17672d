// Events in memory: columns over n events, users contiguous, a user's events by (known_time_ms, log
// order).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/schema.h"

namespace grab {

enum class Split : uint8_t { kContext = 0, kTrain = 1, kValid = 2, kTest = 3 };

inline constexpr const char* kSplitNames[] = {"context", "train", "valid", "test"};

inline const char* SplitName(Split split) { return kSplitNames[static_cast<size_t>(split)]; }

// Longest id of a user, in shards as in the store of a server.
inline constexpr size_t kUserIdBytesMax = 256;

// Values of one field for n events.
struct FieldColumn {
  std::vector<uint32_t> offsets;  // kIds: n + 1, into ids (and weights)
  std::vector<uint64_t>
      ids;  // kId: n keys (base/hash.h HashId), 0 = missing. kIds: all keys, none 0
  std::vector<float>
      numbers;  // kNumber: n, NaN = missing. kDense: n * width, all NaN = missing. kIds: weights
};

struct EventColumns {
  std::vector<uint64_t> event_id;
  std::vector<int64_t> request_time_ms;
  std::vector<int64_t> known_time_ms;  // >= request_time_ms
  std::vector<uint64_t> page_id;       // 0 = none
  std::vector<uint64_t> session_id;    // 0 = none
  std::vector<Split> split;
  std::vector<uint8_t> history;   // 1: history once it is known; 0: a candidate only, never history
  std::vector<uint32_t> actions;  // feedback bits, in Schema::actions order
  std::vector<uint32_t>
      actions_known;             // 1 where the bit is known; an unknown bit is 0 in `actions`
  std::vector<uint32_t> labels;  // in Schema::tasks order
  std::vector<uint32_t> labels_known;
  std::vector<FieldColumn> fields;  // in Schema::fields order

  size_t size() const { return event_id.size(); }
};

// A block of whole users.
struct UserBlock {
  std::vector<std::string> user_id;    // as in the log, 1 to kUserIdBytesMax bytes
  std::vector<uint32_t> user_offsets;  // users + 1, into events
  EventColumns events;

  size_t users() const { return user_id.size(); }
};

// Appends event `index` of `from` to `to`; both follow `schema`.
void AppendEvent(const Schema& schema, const EventColumns& from, size_t index, EventColumns& to);

// Empty columns of `schema`.
EventColumns MakeColumns(const Schema& schema);

// Whether every column has the length that the number of events and the schema require, offsets
// ascend, users cover all events and their ids are of 1 to kUserIdBytesMax bytes, known >= request,
// times of a user ascend, and no reserved value occurs. Our writers check it before writing,
// readers after decoding.
Status Validate(const Schema& schema, const UserBlock& block);

}  // namespace grab
