#include "batch/loaded_blocks.h"

namespace grab {

StatusOr<std::vector<const UserBlock*>> LoadedBlocks::Load(
    const std::vector<ShardSet::BlockRef>& refs, std::optional<Split> only) {
  if (only_.has_value() && only != only_) blocks_.clear();
  std::map<Key, UserBlock> kept;
  std::vector<ShardSet::BlockRef> missing;
  for (const ShardSet::BlockRef& ref : refs) {
    auto block = blocks_.extract({ref.shard, ref.block});
    if (block.empty()) missing.push_back(ref);
    kept.insert(std::move(block));
  }
  blocks_ = std::move(kept);
  if (blocks_.empty()) only_ = only;
  GRAB_RETURN_IF_ERROR(Read(missing));
  std::vector<const UserBlock*> loaded;
  for (const ShardSet::BlockRef& ref : refs) loaded.push_back(&blocks_.at({ref.shard, ref.block}));
  return loaded;
}

// What a failed call has read stays, and is dropped by the next.
Status LoadedBlocks::Read(const std::vector<ShardSet::BlockRef>& refs) {
  std::vector<StatusOr<UserBlock>> read(refs.size(), absl::UnknownError("not read"));
  ParallelFor(static_cast<int64_t>(refs.size()), threads_, [&](int, int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      read[i] = shards_.Read(refs[i], only_);
    }
  });
  for (size_t i = 0; i < refs.size(); ++i) {
    GRAB_RETURN_IF_ERROR(read[i].status());
    blocks_.emplace(Key{refs[i].shard, refs[i].block}, *std::move(read[i]));
  }
  return absl::OkStatus();
}

}  // namespace grab
