// A pass over the shards as a sequence of batches. The sequence depends only on the shards, the
// options and the seed, so a resumed run continues at the same batch. Memory is bounded by the
// shuffled blocks and one batch.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/rng.h"
#include "base/status.h"
#include "batch/builder.h"
#include "batch/loaded_blocks.h"
#include "data/shard.h"

namespace grab {

struct StreamOptions {
  Split split = Split::kTrain;  // which targets; of a pass (PrepareRange) they are kTrain
  // Of them those requested in [request_from_ms, request_to_ms).
  int64_t request_from_ms = std::numeric_limits<int64_t>::min();
  int64_t request_to_ms = std::numeric_limits<int64_t>::max();
  bool impressions = false;      // shuffled single targets
  bool shuffle = false;          // blocks, then users inside `shuffle_blocks` blocks
  uint64_t seed = 1;             // of the shuffle
  uint64_t pass = 0;             // another pass is another order
  uint64_t batch_tokens = 8192;  // a segment that alone has more is a batch of its own
  uint32_t shuffle_blocks = 1;
  // Needs no other events: for models without history, which train on one event in many. There are
  // no windows then, and what batches say of the history's length (Batch::history_len) means
  // nothing.
  bool targets_only = false;
  uint32_t window_size = 0;  // 0: whole timelines (evaluation)
  uint32_t window_train = 0;
};

class BatchStream {
 public:
  // `blocks` and `builder` must outlive the stream; no other stream uses `blocks` meanwhile.
  BatchStream(LoadedBlocks& blocks, const BatchBuilder& builder, StreamOptions options);

  // The next batch; nullopt at the end of the pass.
  StatusOr<std::optional<Batch>> Next();
  // As Next, without building the batch: the number of targets in it, 0 at the end.
  StatusOr<uint64_t> Skip();

 private:
  struct Unit {
    uint32_t block = 0;  // in loaded_
    uint32_t group = 0;  // in the block's groups_
  };
  Status Load();
  void PlanUser(const UserBlock& data, uint32_t user, std::vector<TargetGroup>& groups) const;
  StatusOr<std::span<const Unit>> Take();
  const TargetGroup& GroupOf(const Unit& unit) const { return groups_[unit.block][unit.group]; }

  LoadedBlocks& blocks_;
  const BatchBuilder& builder_;
  StreamOptions options_;
  Rng rng_;
  std::vector<ShardSet::BlockRef> order_;
  size_t next_block_ = 0;
  std::vector<const UserBlock*> loaded_;
  std::vector<std::vector<TargetGroup>> groups_;  // of each loaded block
  std::vector<Unit> units_;                       // all of groups_, in order of the pass
  size_t next_unit_ = 0;
};

// Runs a stream on a thread of its own, `depth` batches ahead.
class Prefetcher {
 public:
  Prefetcher(BatchStream& stream, size_t depth);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;
  StatusOr<std::optional<Batch>> Next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Targets of `split` in the shards.
uint64_t CountTargets(const ShardSet& shards, Split split);

}  // namespace grab
