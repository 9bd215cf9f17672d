// Blocks of shards in memory, for streams that follow one another over the same ones: the stages
// and slices of a pass.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/threads.h"
#include "data/shard.h"

namespace grab {

class LoadedBlocks {
 public:
  // `shards` must outlive it. `threads` read blocks, and plan what streams take from them.
  explicit LoadedBlocks(const ShardSet& shards, int threads = DefaultThreads())
      : shards_(shards), threads_(threads) {}
  LoadedBlocks(const LoadedBlocks&) = delete;
  LoadedBlocks& operator=(const LoadedBlocks&) = delete;

  const ShardSet& shards() const { return shards_; }
  int threads() const { return threads_; }

  // Drops all blocks but `refs` (distinct), then reads those that were not there. The blocks, one
  // per ref, live until the next call; one stream at a time. With `only` the events of that split
  // suffice: blocks are read for them alone, unless some of `refs` are there whole, which then all
  // are. Blocks that were read for another split are read anew.
  StatusOr<std::vector<const UserBlock*>> Load(const std::vector<ShardSet::BlockRef>& refs,
                                               std::optional<Split> only);

 private:
  using Key = std::pair<uint32_t, uint32_t>;  // BlockRef

  Status Read(const std::vector<ShardSet::BlockRef>& refs);

  const ShardSet& shards_;
  const int threads_;
  std::optional<Split> only_;  // of blocks_; nullopt: they are whole
  std::map<Key, UserBlock> blocks_;
};

}  // namespace grab
