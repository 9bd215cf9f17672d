// Shards hold exactly what was written, and of one split exactly its events: random blocks of every
// field kind, sizes around the thresholds of the encodings (a dictionary needs 16 values, Zstd 64
// bytes, a second code byte 257 entries), users without events, extreme values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "base/hash.h"
#include "data/block_codec.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"
#include "support/data_blocks.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

StatusOr<UserBlock> RoundTrip(const Schema& schema, const UserBlock& block,
                              std::optional<Split> only = std::nullopt) {
  const std::string bytes = EncodeBlock(schema, block, 3);
  uint64_t error_offset = 0;
  return DecodeBlock(
      schema, static_cast<uint32_t>(block.users()), static_cast<uint32_t>(block.events.size()),
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, &error_offset, only);
}

// Whole, and each split by itself.
void ExpectSurvives(const Schema& schema, const UserBlock& block) {
  ASSERT_TRUE(Validate(schema, block).ok()) << Validate(schema, block);
  const auto back = RoundTrip(schema, block);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(SameBlocks(block, *back));
  for (const Split split : {Split::kContext, Split::kTrain, Split::kValid, Split::kTest}) {
    const auto only = RoundTrip(schema, block, split);
    ASSERT_TRUE(only.ok()) << only.status();
    EXPECT_TRUE(SameBlocks(OnlySplit(schema, block, split), *only)) << SplitName(split);
  }
}

TEST(ShardProperty, BlocksSurvive) {
  const Schema schema = AllKindsSchema();
  uint64_t seed = 0;
  for (const size_t users : {0, 1, 2, 15, 17, 64, 300}) {
    for (const size_t events_max : {0, 1, 3, 40}) {
      for (const bool numeric : {false, true}) {
        SCOPED_TRACE(testing::Message() << "seed " << ++seed << ", " << users << " users of up to "
                                        << events_max << " events");
        const UserBlock block = RandomBlock(schema, seed, users, events_max, numeric);
        ExpectSurvives(schema, block);
      }
    }
  }
}

// Each encoding of a column, reached on purpose: constant, of the user, hash of the user, ranks,
// dictionary with one and two code bytes, dependent, planes with a common factor.
TEST(ShardProperty, EveryColumnEncodingSurvives) {
  const Schema schema = AllKindsSchema();
  const std::function<void(UserBlock&)> shapes[] = {
      [](UserBlock& b) { b.events.fields[0].ids.assign(b.events.size(), 42); },
      [](UserBlock& b) {
        for (size_t user = 0; user < b.users(); ++user) {
          for (uint32_t i = b.user_offsets[user]; i < b.user_offsets[user + 1]; ++i) {
            b.events.fields[3].ids[i] = HashId(b.user_id[user]);
            b.events.page_id[i] = GroupKey(HashId(b.user_id[user]), (i - b.user_offsets[user]) / 3);
          }
        }
      },
      [](UserBlock& b) {
        for (size_t i = 0; i < b.events.size(); ++i) {
          b.events.fields[0].ids[i] = Mix64(i % 300);
          b.events.fields[1].ids[i] = i % 300 / 7;
          b.events.fields[6].numbers[i] = static_cast<float>(i % 300) / 7;
        }
      },
      [](UserBlock& b) {
        for (size_t i = 0; i < b.events.size(); ++i) {
          b.events.event_id[i] = 5000 + 1000 * i;
          b.events.fields[7].numbers[i] = static_cast<float>(i) - 100;
        }
      },
      [](UserBlock& b) { b.events.page_id.assign(b.events.size(), 0); },
  };
  for (size_t i = 0; i < std::size(shapes); ++i) {
    UserBlock block = RandomBlock(schema, 100 + i, 100, 60, i % 2 == 0);
    shapes[i](block);
    SCOPED_TRACE(testing::Message() << "shape " << i << ", seed " << 100 + i);
    ExpectSurvives(schema, block);
    // Three splits without an event.
    block.events.split.assign(block.events.size(), Split::kTrain);
    ExpectSurvives(schema, block);
  }
}

// A column that a user or another field determines must cost less than one of its own: otherwise
// these encodings are never chosen. 8 bytes per event is what a random key costs.
TEST(ShardProperty, DeterminedColumnsAreNearlyFree) {
  Schema schema;
  schema.fields = {{"item", FieldKind::kId, false, 0}};
  UserBlock block = RandomBlock(schema, 5, 400, 40, true);
  for (size_t i = 0; i < block.events.size(); ++i) block.events.fields[0].ids[i] = Mix64(i % 50);
  const size_t alone = EncodeBlock(schema, block, 3).size();
  schema.fields.push_back({"author", FieldKind::kId, false, 0});
  schema.fields.push_back({"user", FieldKind::kId, false, 0});
  block.events.fields.resize(3);
  for (size_t user = 0; user < block.users(); ++user) {
    for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
      block.events.fields[1].ids.push_back(Mix64(i % 50 / 2) + 1);
      block.events.fields[2].ids.push_back(HashId(block.user_id[user]));
    }
  }
  const size_t all = EncodeBlock(schema, block, 3).size();
  EXPECT_LT(all - alone, block.events.size() / 4);
}

TEST(ShardProperty, FilesSurvive) {
  const TempDir dir;
  const Schema schema = AllKindsSchema();
  const std::string path = dir.File("a.grab");
  std::vector<UserBlock> blocks;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    blocks.push_back(RandomBlock(schema, seed, seed * 7 - 7, 30, seed % 2 == 0));
  }
  auto writer = ShardWriter::Create(path, schema, 3);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const UserBlock& block : blocks) ASSERT_TRUE((*writer)->Append(block).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto reader = ShardReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->schema(), schema);
  EXPECT_EQ((*reader)->checksum(), (*writer)->checksum());
  ASSERT_EQ((*reader)->blocks().size(), blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto back = (*reader)->Read(i);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(SameBlocks(blocks[i], *back)) << "seed " << i + 1;
    const BlockInfo& info = (*reader)->blocks()[i];
    EXPECT_EQ(info.users, blocks[i].users());
    uint32_t tests = 0;
    for (const Split split : blocks[i].events.split) tests += split == Split::kTest;
    EXPECT_EQ(info.targets[3], tests);
  }
}

// Before memory is taken for what they are lengths of: the decoder says which length it read.
TEST(ShardProperty, DecoderRefusesLengthsOverTheirLimit) {
  const Schema schema = AllKindsSchema();
  const uint32_t values_max = static_cast<uint32_t>(kFieldValuesMax);
  UserBlock block = RandomBlock(schema, 1, 5, 5, false);
  ASSERT_GT(block.events.size(), 0u);
  block.user_id[0].assign(kUserIdBytesMax, 'u');
  const size_t tags = static_cast<size_t>(schema.FieldIndex("tags"));
  GiveIds(block.events, tags, values_max - block.events.fields[tags].offsets[1]);
  ExpectSurvives(schema, block);

  UserBlock long_id = block;
  long_id.user_id[0] += 'u';
  EXPECT_THAT(std::string(RoundTrip(schema, long_id).status().message()),
              HasSubstr("a length of 257, at most 256"));
  UserBlock many_ids = block;
  GiveIds(many_ids.events, tags, 1);
  EXPECT_THAT(std::string(RoundTrip(schema, many_ids).status().message()),
              HasSubstr("a length of 65537, at most 65536"));
}

TEST(ShardProperty, WriterRefusesInvalidBlocks) {
  const TempDir dir;
  const Schema schema = AllKindsSchema();
  auto writer = ShardWriter::Create(dir.File("a.grab"), schema, 3);
  ASSERT_TRUE(writer.ok()) << writer.status();
  UserBlock bad = RandomBlock(schema, 1, 5, 5, true);
  bad.events.page_id.pop_back();
  EXPECT_EQ((*writer)->Append(bad).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace grab
