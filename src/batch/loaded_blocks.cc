#include "batch/loaded_blocks.h"

namespace grab {

StatusOr<std::vector<const UserBlock*>> LoadedBlocks::Load(
    const std::vector<ShardSet::BlockRef>& refs) {
  std::map<Key, UserBlock> kept;
  for (const ShardSet::BlockRef& ref : refs) kept.insert(blocks_.extract({ref.shard, ref.block}));
  blocks_ = std::move(kept);
  std::vector<const UserBlock*> loaded;
  for (const ShardSet::BlockRef& ref : refs) {
    const Key key = {ref.shard, ref.block};
    auto found = blocks_.find(key);
    if (found == blocks_.end()) {
      GRAB_ASSIGN_OR_RETURN(UserBlock block, shards_.Read(ref));
      found = blocks_.emplace(key, std::move(block)).first;
    }
    loaded.push_back(&found->second);
  }
  return loaded;
}

}  // namespace grab
