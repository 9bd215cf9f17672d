// Records of events: what is written is what is read, for every kind of field with missing and
// extreme values; a record cut anywhere or with any byte changed is read or refused, and a refused
// one leaves the columns alone.
#include <gtest/gtest.h>

#include "state/event_record.h"
#include "support/data_blocks.h"

namespace grab {
namespace {

UserBlock Events(const Schema& schema, uint64_t seed) {
  UserBlock block = RandomBlock(schema, seed, 1, 60, true);
  for (Split& split : block.events.split) split = Split::kContext;  // not stored
  return block;
}

TEST(EventRecordTest, ReadsWhatWasWritten) {
  const Schema schema = AllKindsSchema();
  size_t events = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    const UserBlock block = Events(schema, seed);
    UserBlock read = block;
    read.events = MakeColumns(schema);
    for (size_t i = 0; i < block.events.size(); ++i) {
      const std::string item(i % 5, 'i');
      std::string record, read_item;
      EncodeEvent(schema, block.events, i, item, record);
      ASSERT_TRUE(
          DecodeEvent(schema, record, block.events.known_time_ms[i], read.events, read_item).ok());
      EXPECT_EQ(read_item, item);
      EXPECT_EQ(*DecodeEventId(record), block.events.event_id[i]);
      ++events;
    }
    EXPECT_TRUE(SameBlocks(read, block));
  }
  EXPECT_GT(events, 500u);
}

TEST(EventRecordTest, EveryPrefixIsRefused) {
  const Schema schema = AllKindsSchema();
  const UserBlock block = Events(schema, 3);
  ASSERT_GT(block.events.size(), 0u);
  for (size_t i = 0; i < block.events.size(); ++i) {
    std::string record, item;
    EncodeEvent(schema, block.events, i, "item", record);
    for (size_t bytes = 0; bytes < record.size(); ++bytes) {
      EventColumns columns = MakeColumns(schema);
      const Status status =
          DecodeEvent(schema, absl::string_view(record).substr(0, bytes), 0, columns, item);
      EXPECT_TRUE(absl::IsDataLoss(status)) << bytes << " of " << record.size();
      EXPECT_EQ(columns.fields[0].ids.size(), 0u);
    }
    EventColumns columns = MakeColumns(schema);
    EXPECT_TRUE(absl::IsDataLoss(DecodeEvent(schema, record + "x", 0, columns, item)));
  }
}

TEST(EventRecordTest, ChangedBytesAreReadOrRefusedWhole) {
  const Schema schema = AllKindsSchema();
  Rng rng(11);
  int refused = 0, read = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const UserBlock block = Events(schema, seed);
    EventColumns columns = MakeColumns(schema);
    for (size_t i = 0; i < block.events.size(); ++i) {
      std::string record, item;
      EncodeEvent(schema, block.events, i, "item", record);
      record[rng.Below(record.size())] ^= static_cast<char>(1 + rng.Below(255));
      const size_t rows = columns.size();
      const bool ok = DecodeEvent(schema, record, 1, columns, item).ok();
      ++(ok ? read : refused);
      ASSERT_EQ(columns.size(), rows + (ok ? 1 : 0));
      for (const FieldColumn& column : columns.fields) {
        if (column.offsets.empty()) continue;
        ASSERT_EQ(column.offsets.size(), columns.size() + 1);
      }
    }
  }
  EXPECT_GT(refused, 20);
  EXPECT_GT(read, 20);
}

}  // namespace
}  // namespace grab
