// User-sliced shard files: docs/formats/shard.md. Blocks of whole users, columnar, Zstd, every
// block checksummed, an index at the end. A reader trusts no size field: each is checked against
// the file and the limits below before memory is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "data/timeline.h"

namespace grab {

inline constexpr uint64_t kBlockBytesMax = 1ULL << 30;  // decoded size of one block
inline constexpr uint32_t kShardVersion = 1;
inline constexpr char kManifestName[] = "manifest.json";

struct BlockInfo {
  uint64_t offset = 0;      // of the compressed block in the file
  uint64_t size_bytes = 0;  // compressed
  uint32_t users = 0;
  uint32_t events = 0;
  int64_t request_time_min_ms = 0;
  int64_t request_time_max_ms = 0;
  uint32_t targets[4] = {0, 0, 0, 0};  // events per Split
  uint64_t checksum = 0;               // XXH3 of the compressed block
};

class ShardWriter {
 public:
  static StatusOr<std::unique_ptr<ShardWriter>> Create(const std::string& path,
                                                       const Schema& schema, int zstd_level);
  virtual ~ShardWriter() = default;
  // An invalid block, or one of more than kBlockBytesMax, is an InvalidArgument and writes nothing.
  virtual Status Append(const UserBlock& block) = 0;
  virtual Status Finish() = 0;  // writes the index; without it the file is refused by readers
  // After Finish: the file's size and the checksum that covers all its checksums.
  virtual uint64_t size_bytes() const = 0;
  virtual uint64_t checksum() const = 0;
};

class ShardReader {
 public:
  static StatusOr<std::unique_ptr<ShardReader>> Open(const std::string& path);
  virtual ~ShardReader() = default;
  virtual const Schema& schema() const = 0;
  virtual const std::vector<BlockInfo>& blocks() const = 0;
  virtual uint64_t checksum() const = 0;  // as ShardWriter's
  // Decodes block `index` (< blocks().size()); with `only`, the events of that split alone, of all
  // its users. Const and thread-safe.
  StatusOr<UserBlock> Read(size_t index) const { return Read(index, std::nullopt); }
  virtual StatusOr<UserBlock> Read(size_t index, std::optional<Split> only) const = 0;
};

// All shards of a prepared data set: a folder with shard-*.grab and manifest.json (written last by
// prepare).
class ShardSet {
 public:
  struct BlockRef {
    uint32_t shard = 0;
    uint32_t block = 0;
  };
  static StatusOr<std::unique_ptr<ShardSet>> Open(const std::string& dir);
  const Schema& schema() const { return readers_[0]->schema(); }
  const std::vector<BlockRef>& blocks() const { return blocks_; }  // shard-major
  const BlockInfo& info(const BlockRef& ref) const {
    return readers_[ref.shard]->blocks()[ref.block];
  }
  StatusOr<UserBlock> Read(const BlockRef& ref, std::optional<Split> only = std::nullopt) const {
    return readers_[ref.shard]->Read(ref.block, only);
  }
  // The manifest's hash over all event ids, times, splits and labels: two people hold the same rows
  // iff it is equal.
  const std::string& rows_hash() const { return rows_hash_; }
  const std::string& dir() const { return dir_; }

 private:
  std::string dir_;
  std::string rows_hash_;
  std::vector<std::unique_ptr<ShardReader>> readers_;
  std::vector<BlockRef> blocks_;
};

}  // namespace grab
