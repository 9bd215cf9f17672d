// Damaged shards: every byte flipped and every truncation of a small file must give an error that
// names the file, never a crash and never a block; so must files of another format or version, and
// headers whose sizes are lies with correct checksums around them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"
#include "support/data_blocks.h"

namespace grab {
namespace {

using testing::HasSubstr;

constexpr size_t kFooterBytes = 48;
constexpr size_t kIndexEntryBytes = 64;

class DamagedShard : public testing::Test {
 protected:
  void SetUp() override {
    const Schema schema = AllKindsSchema();
    auto writer = ShardWriter::Create(path_, schema, 3);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append(RandomBlock(schema, 1, 3, 3, true)).ok());
    ASSERT_TRUE((*writer)->Append(RandomBlock(schema, 2, 2, 10, false)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
    std::ifstream in(path_, std::ios::binary);
    good_.assign(std::istreambuf_iterator<char>(in), {});
    ASSERT_TRUE(Load(good_).ok());
  }

  // The first error of opening `bytes` as a shard and reading all its blocks.
  Status Load(const std::string& bytes) const {
    {
      std::ofstream out(path_, std::ios::binary | std::ios::trunc);
      out << bytes;
    }
    return Read();
  }

  Status Read() const {
    const auto reader = ShardReader::Open(path_);
    if (!reader.ok()) return reader.status();
    for (size_t i = 0; i < (*reader)->blocks().size(); ++i) {
      GRAB_RETURN_IF_ERROR((*reader)->Read(i).status());
    }
    return absl::OkStatus();
  }

  // Unless `bytes` is the good file, because a lie happened to be true.
  void ExpectRefused(const std::string& bytes, const std::string& what) const {
    if (bytes == good_) return;
    const Status status = Load(bytes);
    EXPECT_TRUE(status.code() == absl::StatusCode::kDataLoss ||
                status.code() == absl::StatusCode::kInvalidArgument)
        << what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_)) << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr("at byte")) << what;
  }

  // A copy with `value` at `offset` of index entry `entry`, and with checksums that match it.
  std::string WithIndex(size_t entry, size_t offset, uint64_t value, size_t bytes) const {
    std::string copy = good_;
    const size_t footer = copy.size() - kFooterBytes;
    uint64_t index = 0;
    std::memcpy(&index, copy.data() + footer, sizeof index);
    std::memcpy(copy.data() + index + entry * kIndexEntryBytes + offset, &value, bytes);
    const uint64_t checksum = HashBytes(copy.data() + index, footer - index);
    std::memcpy(copy.data() + footer + 16, &checksum, sizeof checksum);
    return WithFooterChecksum(copy);
  }

  static std::string WithFooterChecksum(std::string copy) {
    const size_t footer = copy.size() - kFooterBytes;
    const uint64_t checksum = HashBytes(copy.data() + footer, kFooterBytes - 16);
    std::memcpy(copy.data() + footer + 32, &checksum, sizeof checksum);
    return copy;
  }

  TempDir dir_;
  std::string path_ = dir_.File("shard.grab");
  std::string good_;
};

// The file is changed in place, which is much faster than writing thousands of files.
TEST_F(DamagedShard, EveryFlippedByteIsDetected) {
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte).flush();
    ASSERT_TRUE(file.good());
  };
  for (size_t i = 0; i < good_.size(); ++i) {
    const int flips[] = {0x01, 0x80, 0xff};
    put(i, static_cast<char>(good_[i] ^ flips[i % 3]));
    const Status status = Read();
    ASSERT_FALSE(status.ok()) << "byte " << i << " of " << good_.size() << " ^ " << flips[i % 3];
    ASSERT_THAT(std::string(status.message()), HasSubstr("at byte"));
    put(i, good_[i]);
  }
  EXPECT_TRUE(Read().ok());
}

TEST_F(DamagedShard, EveryTruncationIsDetected) {
  for (size_t size = good_.size(); size-- > 0;) {
    std::filesystem::resize_file(path_, size);
    const Status status = Read();
    ASSERT_FALSE(status.ok()) << size << " of " << good_.size() << " bytes";
    ASSERT_THAT(std::string(status.message()), HasSubstr(path_));
  }
}

TEST_F(DamagedShard, TrailingBytesAreDetected) {
  for (const size_t extra : {1, 8, 48, 64, 1000}) {
    ExpectRefused(good_ + std::string(extra, '\0'), "zeros after the end");
    ExpectRefused(good_ + good_.substr(good_.size() - std::min(extra, good_.size())),
                  "its own tail after the end");
  }
}

TEST_F(DamagedShard, OtherFormatsAndVersionsSayWhatTheyAre) {
  EXPECT_THAT(std::string(Load("PAR1" + std::string(200, 'x')).message()),
              HasSubstr("not a shard"));
  std::string newer = good_;
  newer[8] = static_cast<char>(kShardVersion + 1);
  EXPECT_THAT(std::string(Load(newer).message()), HasSubstr("version 2"));
  ExpectRefused(newer, "newer version");
}

// Sizes that a checksum cannot refute because it was made for them.
TEST_F(DamagedShard, LyingSizesAreDetected) {
  for (const uint64_t lie : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 31, ~uint64_t{0}}) {
    SCOPED_TRACE(testing::Message() << "lie " << lie);
    ExpectRefused(WithIndex(0, 0, lie, 8), "offset of a block");
    ExpectRefused(WithIndex(0, 8, lie, 8), "size of a block");
    ExpectRefused(WithIndex(1, 16, lie & 0xffffffff, 4), "users of a block");
    ExpectRefused(WithIndex(1, 20, lie & 0xffffffff, 4), "events of a block");
    ExpectRefused(WithIndex(1, 24, lie, 8), "first request time");
    ExpectRefused(WithIndex(1, 40, lie & 0xffffffff, 4), "targets of a split");
    for (const size_t field : {0, 8}) {
      std::string bad = good_;
      std::memcpy(bad.data() + bad.size() - kFooterBytes + field, &lie, sizeof lie);
      ExpectRefused(WithFooterChecksum(bad), "footer");
    }
    std::string bad = good_;
    std::memcpy(bad.data() + 12, &lie, 4);
    ExpectRefused(bad, "size of the schema");
  }
}

TEST_F(DamagedShard, UnfinishedFilesAreRefused) {
  const Schema schema = AllKindsSchema();
  const std::string path = dir_.File("unfinished.grab");
  {
    auto writer = ShardWriter::Create(path, schema, 3);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append(RandomBlock(schema, 1, 6, 8, true)).ok());
  }
  const Status status = ShardReader::Open(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not finished"));
}

TEST_F(DamagedShard, AbsentFilesAndManifestsAreNotFound) {
  EXPECT_EQ(ShardReader::Open(dir_.File("absent")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ShardSet::Open(dir_.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DamagedShard, ManifestsThatDoNotFitAreRefused) {
  const auto reader = ShardReader::Open(path_);
  ASSERT_TRUE(reader.ok());
  for (const char* manifest :
       {"", "{", "[]", "{}", "{\"rows_hash\":\"x\",\"shards\":[]}",
        "{\"rows_hash\":1,\"shards\":[{}]}", "{\"rows_hash\":\"x\",\"shards\":[{}]}",
        "{\"rows_hash\":\"x\",\"shards\":[{\"file\":\"../shard.grab\",\"checksum\":\"0\"}]}",
        "{\"rows_hash\":\"x\",\"shards\":[{\"file\":\"shard.grab\",\"checksum\":\"0\"}]}"}) {
    std::ofstream(dir_.File("manifest.json")) << manifest;
    EXPECT_EQ(ShardSet::Open(dir_.path()).status().code(), absl::StatusCode::kDataLoss) << manifest;
  }
}

}  // namespace
}  // namespace grab
