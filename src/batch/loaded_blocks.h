// Blocks of shards in memory, for streams that follow one another over the same ones: the stages
// and slices of a pass.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "data/shard.h"

namespace grab {

class LoadedBlocks {
 public:
  // `shards` must outlive it.
  explicit LoadedBlocks(const ShardSet& shards) : shards_(shards) {}
  LoadedBlocks(const LoadedBlocks&) = delete;
  LoadedBlocks& operator=(const LoadedBlocks&) = delete;

  const ShardSet& shards() const { return shards_; }

  // Drops all blocks but `refs` (distinct), then reads those that were not there. The blocks, one
  // per ref, live until the next call; one stream at a time.
  StatusOr<std::vector<const UserBlock*>> Load(const std::vector<ShardSet::BlockRef>& refs);

 private:
  using Key = std::pair<uint32_t, uint32_t>;  // BlockRef

  const ShardSet& shards_;
  std::map<Key, UserBlock> blocks_;
};

}  // namespace grab
