#include "data/shard.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash.h"
#include "data/block_codec.h"

namespace grab {
namespace {

constexpr char kMagic[8] = {'G', 'R', 'A', 'B', 'S', 'H', 'R', 'D'};
constexpr char kEndMagic[8] = {'G', 'R', 'A', 'B', 'D', 'O', 'N', 'E'};
constexpr uint64_t kPreludeBytes = 16;  // magic, version, size of the schema
constexpr uint64_t kIndexEntryBytes = 64;
constexpr uint64_t kFooterBytes = 48;
constexpr uint64_t kSchemaBytesMax = 1 << 20;
constexpr uint64_t kManifestBytesMax = 64 << 20;

template <class T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T Take(const char*& cursor) {
  T value;
  std::memcpy(&value, cursor, sizeof value);
  cursor += sizeof value;
  return value;
}

uint64_t HashOf(const std::string& bytes) { return HashBytes(bytes.data(), bytes.size()); }

// What the index says about the content of a block.
void Summarise(const UserBlock& block, BlockInfo& info) {
  const EventColumns& events = block.events;
  info.users = static_cast<uint32_t>(block.users());
  info.events = static_cast<uint32_t>(events.size());
  std::fill(std::begin(info.targets), std::end(info.targets), 0);
  for (const Split split : events.split) ++info.targets[static_cast<size_t>(split)];
  const auto [least, most] =
      std::minmax_element(events.request_time_ms.begin(), events.request_time_ms.end());
  info.request_time_min_ms = events.size() == 0 ? 0 : *least;
  info.request_time_max_ms = events.size() == 0 ? 0 : *most;
}

void PutInfo(const BlockInfo& info, std::string& out) {
  Put(out, info.offset);
  Put(out, info.size_bytes);
  Put(out, info.users);
  Put(out, info.events);
  Put(out, info.request_time_min_ms);
  Put(out, info.request_time_max_ms);
  for (const uint32_t targets : info.targets) Put(out, targets);
  Put(out, info.checksum);
}

BlockInfo TakeInfo(const char*& cursor) {
  BlockInfo info;
  info.offset = Take<uint64_t>(cursor);
  info.size_bytes = Take<uint64_t>(cursor);
  info.users = Take<uint32_t>(cursor);
  info.events = Take<uint32_t>(cursor);
  info.request_time_min_ms = Take<int64_t>(cursor);
  info.request_time_max_ms = Take<int64_t>(cursor);
  for (uint32_t& targets : info.targets) targets = Take<uint32_t>(cursor);
  info.checksum = Take<uint64_t>(cursor);
  return info;
}

class FileShardWriter : public ShardWriter {
 public:
  FileShardWriter(std::unique_ptr<SequentialFile> file, std::string path, Schema schema,
                  int zstd_level)
      : file_(std::move(file)),
        path_(std::move(path)),
        schema_(std::move(schema)),
        zstd_level_(zstd_level) {}

  Status WriteHeader() {
    const std::string schema_json = schema_.ToJson();
    if (schema_json.size() > kSchemaBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": a schema of ", schema_json.size(),
                                                     " bytes, at most ", kSchemaBytesMax));
    }
    std::string header(kMagic, sizeof kMagic);
    Put(header, kShardVersion);
    Put(header, static_cast<uint32_t>(schema_json.size()));
    header += schema_json;
    header_checksum_ = HashOf(header);
    Put(header, header_checksum_);
    return file_->Append(header);
  }

  Status Append(const UserBlock& block) override {
    GRAB_CHECK(!finished_);
    GRAB_RETURN_IF_ERROR(Annotate(Validate(schema_, block), path_));
    const uint64_t decoded_bytes = DecodedBytes(schema_, block);
    if (decoded_bytes > kBlockBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": a block of ", decoded_bytes,
                                                     " bytes decoded, at most ", kBlockBytesMax));
    }
    const std::string bytes = EncodeBlock(schema_, block, zstd_level_);
    BlockInfo info;
    info.offset = file_->size_bytes();
    info.size_bytes = bytes.size();
    info.checksum = HashOf(bytes);
    Summarise(block, info);
    GRAB_RETURN_IF_ERROR(file_->Append(bytes));
    PutInfo(info, index_);
    return absl::OkStatus();
  }

  Status Finish() override {
    GRAB_CHECK(!finished_);
    finished_ = true;
    std::string footer;
    Put(footer, file_->size_bytes());
    Put(footer, static_cast<uint64_t>(index_.size() / kIndexEntryBytes));
    Put(footer, HashOf(index_));
    Put(footer, header_checksum_);
    checksum_ = HashOf(footer);
    Put(footer, checksum_);
    footer.append(kEndMagic, sizeof kEndMagic);
    GRAB_RETURN_IF_ERROR(file_->Append(index_));
    GRAB_RETURN_IF_ERROR(file_->Append(footer));
    return file_->Close();
  }

  uint64_t size_bytes() const override { return file_->size_bytes(); }
  uint64_t checksum() const override { return checksum_; }

 private:
  std::unique_ptr<SequentialFile> file_;
  std::string path_;
  Schema schema_;
  int zstd_level_;
  std::string index_;
  uint64_t header_checksum_ = 0;
  uint64_t checksum_ = 0;
  bool finished_ = false;
};

class FileShardReader : public ShardReader {
 public:
  explicit FileShardReader(std::unique_ptr<RandomAccessFile> file) : file_(std::move(file)) {}

  Status Load() {
    GRAB_RETURN_IF_ERROR(LoadHeader());
    return LoadIndex();
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<BlockInfo>& blocks() const override { return blocks_; }
  uint64_t checksum() const override { return checksum_; }

  StatusOr<UserBlock> Read(size_t index, std::optional<Split> only) const override {
    GRAB_CHECK(index < blocks_.size());
    const BlockInfo& info = blocks_[index];
    std::string bytes(info.size_bytes, '\0');
    GRAB_RETURN_IF_ERROR(file_->Read(info.offset, bytes.size(), bytes.data()));
    if (HashOf(bytes) != info.checksum) {
      return Corrupt(info.offset, absl::StrCat("the checksum of block ", index, " does not match"));
    }
    uint64_t error_offset = 0;
    StatusOr<UserBlock> block = DecodeBlock(
        schema_, info.users, info.events,
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, &error_offset, only);
    if (!block.ok()) {
      return Corrupt(info.offset + error_offset,
                     absl::StrCat("block ", index, ": ", block.status().message()));
    }
    BlockInfo found;
    Summarise(*block, found);
    const bool as_said =
        only.has_value()
            ? block->events.size() == info.targets[static_cast<size_t>(*only)]
            : std::equal(std::begin(found.targets), std::end(found.targets), info.targets) &&
                  found.request_time_min_ms == info.request_time_min_ms &&
                  found.request_time_max_ms == info.request_time_max_ms;
    if (!as_said) {
      return Corrupt(info.offset, absl::StrCat("block ", index, " is not what the index says"));
    }
    return block;
  }

 private:
  Status Corrupt(uint64_t offset, absl::string_view detail) const {
    return CorruptFile(file_->path(), offset, detail);
  }

  Status LoadHeader() {
    const uint64_t size = file_->size_bytes();
    char prelude[kPreludeBytes];
    if (size < kPreludeBytes) return Corrupt(size, "too short for a shard: a header is expected");
    GRAB_RETURN_IF_ERROR(file_->Read(0, kPreludeBytes, prelude));
    if (std::memcmp(prelude, kMagic, sizeof kMagic) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_->path(), ": at byte 0: not a shard (its first bytes should be ",
                       absl::string_view(kMagic, sizeof kMagic), ")"));
    }
    const char* cursor = prelude + sizeof kMagic;
    const uint32_t version = Take<uint32_t>(cursor);
    const uint32_t schema_bytes = Take<uint32_t>(cursor);
    if (version != kShardVersion) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_->path(), ": at byte 8: shard format version ", version,
                       ", this build reads version ", kShardVersion, "; prepare the data again"));
    }
    if (schema_bytes > kSchemaBytesMax || kPreludeBytes + schema_bytes + 8 > size) {
      return Corrupt(12, absl::StrCat("a schema of ", schema_bytes, " bytes in a file of ", size));
    }
    std::string header(kPreludeBytes + schema_bytes, '\0');
    GRAB_RETURN_IF_ERROR(file_->Read(0, header.size(), header.data()));
    GRAB_RETURN_IF_ERROR(file_->Read(header.size(), sizeof header_checksum_, &header_checksum_));
    if (HashOf(header) != header_checksum_) {
      return Corrupt(header.size(), "the checksum of the header does not match");
    }
    blocks_begin_ = header.size() + sizeof header_checksum_;
    StatusOr<Schema> schema = Schema::FromJson(header.substr(kPreludeBytes));
    if (!schema.ok()) return Corrupt(kPreludeBytes, schema.status().message());
    schema_ = *std::move(schema);
    return absl::OkStatus();
  }

  Status LoadIndex() {
    const uint64_t size = file_->size_bytes();
    if (size < blocks_begin_ + kFooterBytes) {
      return Corrupt(size, "the file ends before its footer: it was not finished or was cut");
    }
    const uint64_t footer_begin = size - kFooterBytes;
    std::string footer(kFooterBytes, '\0');
    GRAB_RETURN_IF_ERROR(file_->Read(footer_begin, kFooterBytes, footer.data()));
    const char* cursor = footer.data();
    const uint64_t index_begin = Take<uint64_t>(cursor);
    const uint64_t count = Take<uint64_t>(cursor);
    const uint64_t index_checksum = Take<uint64_t>(cursor);
    const uint64_t header_checksum = Take<uint64_t>(cursor);
    checksum_ = Take<uint64_t>(cursor);
    if (std::memcmp(cursor, kEndMagic, sizeof kEndMagic) != 0) {
      return Corrupt(size - sizeof kEndMagic,
                     "no end mark: the file was not finished, was cut, or has bytes after its end");
    }
    if (HashBytes(footer.data(), kFooterBytes - 16) != checksum_) {
      return Corrupt(footer_begin, "the checksum of the footer does not match");
    }
    if (header_checksum != header_checksum_) {
      return Corrupt(footer_begin, "the footer belongs to another header");
    }
    if (index_begin < blocks_begin_ || index_begin > footer_begin ||
        count != (footer_begin - index_begin) / kIndexEntryBytes ||
        (footer_begin - index_begin) % kIndexEntryBytes != 0) {
      return Corrupt(footer_begin, absl::StrCat("an index of ", count, " blocks at byte ",
                                                index_begin, " does not fit the file"));
    }
    std::string index(footer_begin - index_begin, '\0');
    GRAB_RETURN_IF_ERROR(file_->Read(index_begin, index.size(), index.data()));
    if (HashOf(index) != index_checksum) {
      return Corrupt(index_begin, "the checksum of the index does not match");
    }
    return ParseIndex(index, index_begin);
  }

  // Blocks must lie one after the other between header and index.
  Status ParseIndex(const std::string& index, uint64_t index_begin) {
    const char* cursor = index.data();
    uint64_t expected = blocks_begin_;
    for (uint64_t i = 0; i < index.size() / kIndexEntryBytes; ++i) {
      const BlockInfo info = TakeInfo(cursor);
      if (info.offset != expected || info.size_bytes > index_begin - expected) {
        return Corrupt(index_begin + i * kIndexEntryBytes,
                       absl::StrCat("block ", i, " of ", info.size_bytes, " bytes at byte ",
                                    info.offset, ", expected at ", expected));
      }
      expected += info.size_bytes;
      blocks_.push_back(info);
    }
    if (expected != index_begin) return Corrupt(expected, "bytes that belong to no block");
    return absl::OkStatus();
  }

  std::unique_ptr<RandomAccessFile> file_;
  Schema schema_;
  std::vector<BlockInfo> blocks_;
  uint64_t blocks_begin_ = 0;
  uint64_t header_checksum_ = 0;
  uint64_t checksum_ = 0;
};

Status BadManifest(const std::string& path, absl::string_view detail) {
  return absl::DataLossError(absl::StrCat(path, ": ", detail));
}

}  // namespace

StatusOr<std::unique_ptr<ShardWriter>> ShardWriter::Create(const std::string& path,
                                                           const Schema& schema, int zstd_level) {
  GRAB_ASSIGN_OR_RETURN(auto file, SequentialFile::Create(path));
  auto writer = std::make_unique<FileShardWriter>(std::move(file), path, schema, zstd_level);
  GRAB_RETURN_IF_ERROR(writer->WriteHeader());
  return writer;
}

StatusOr<std::unique_ptr<ShardReader>> ShardReader::Open(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(auto file, RandomAccessFile::Open(path));
  auto reader = std::make_unique<FileShardReader>(std::move(file));
  GRAB_RETURN_IF_ERROR(reader->Load());
  return reader;
}

StatusOr<std::unique_ptr<ShardSet>> ShardSet::Open(const std::string& dir) {
  using nlohmann::json;
  const std::string path = JoinPath(dir, kManifestName);
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kManifestBytesMax));
  const json manifest = json::parse(text, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("rows_hash") ||
      !manifest["rows_hash"].is_string() || !manifest.contains("shards") ||
      !manifest["shards"].is_array() || manifest["shards"].empty()) {
    return BadManifest(path, "not a manifest of prepared data: rows_hash and shards are expected");
  }
  auto set = std::make_unique<ShardSet>();
  set->dir_ = dir;
  set->rows_hash_ = manifest["rows_hash"].get<std::string>();
  for (const json& shard : manifest["shards"]) {
    if (!shard.is_object() || !shard.contains("file") || !shard["file"].is_string() ||
        !shard.contains("checksum") || !shard["checksum"].is_string()) {
      return BadManifest(path, "a shard should have a file and a checksum");
    }
    const std::string name = shard["file"].get<std::string>();
    if (name.find('/') != std::string::npos) {
      return BadManifest(path, absl::StrCat("shard '", name, "' is not in the folder itself"));
    }
    GRAB_ASSIGN_OR_RETURN(auto reader, ShardReader::Open(JoinPath(dir, name)));
    if (absl::StrFormat("%016x", reader->checksum()) != shard["checksum"].get<std::string>()) {
      return BadManifest(JoinPath(dir, name),
                         absl::StrCat("is not the shard that ", path, " names"));
    }
    if (!set->readers_.empty() && !(reader->schema() == set->schema())) {
      return BadManifest(JoinPath(dir, name), "has another schema than the first shard");
    }
    const uint32_t index = static_cast<uint32_t>(set->readers_.size());
    for (uint32_t block = 0; block < reader->blocks().size(); ++block) {
      set->blocks_.push_back({index, block});
    }
    set->readers_.push_back(std::move(reader));
  }
  return set;
}

}  // namespace grab
