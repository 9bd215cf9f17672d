// Whether batches show targets only what was known before their request: a check that shares
// nothing with src/batch, which decides it. Each target and each row of history that it sees is
// looked up in the shards' own columns.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "batch/stream.h"
#include "data/shard.h"

namespace grab {

struct HistoryCheck {
  uint64_t targets = 0;
  uint64_t rows = 0;  // of history, over targets and channels
  // Targets that see a row which was not known before the request or is not of their user, that the
  // shards do not hold, or that a row they see can see more than is known when it is.
  uint64_t bad_targets = 0;
  std::string example;  // the first of them, in words
};

// The users of one block, by their key.
class KnownTimes {
 public:
  KnownTimes() = default;
  explicit KnownTimes(UserBlock block);

  bool HasUser(uint64_t user_key) const { return users_.contains(user_key); }
  // The index of an event of the user in events(); -1 if there is none.
  int64_t Find(uint64_t user_key, uint64_t event_id) const;
  // Whether an event of the user became history at `time_ms`.
  bool IsKnownTime(uint64_t user_key, int64_t time_ms) const;
  const EventColumns& events() const { return block_.events; }

 private:
  UserBlock block_;
  absl::flat_hash_map<uint64_t, size_t> users_;  // to their place in the block
};

// Adds segment `segment` of `batch`, of a user that `known` has.
void CheckSegment(const Batch& batch, size_t segment, const KnownTimes& known, HistoryCheck& check);

// All targets of `split` in whole batches of `options`, up to about `targets_max` of them. Blocks
// are read in the order of the shards: options.shuffle is false. Memory: two blocks and a batch.
StatusOr<HistoryCheck> CheckHistory(const ShardSet& shards, const BatchBuilder& builder,
                                    const StreamOptions& options, uint64_t targets_max);

}  // namespace grab
