// Score files: what is written is read back bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/file.h"
#include "eval/scores.h"
#include "support/eval_table.h"

namespace grab {
namespace {

std::string TestPath(const std::string& name) { return JoinPath(::testing::TempDir(), name); }

void ExpectEqual(const ScoreTable& a, const ScoreTable& b) {
  EXPECT_EQ(a.tasks, b.tasks);
  EXPECT_EQ(a.slices, b.slices);
  EXPECT_EQ(a.event_id, b.event_id);
  EXPECT_EQ(a.user_key, b.user_key);
  EXPECT_EQ(a.page_id, b.page_id);
  EXPECT_EQ(a.request_time_ms, b.request_time_ms);
  EXPECT_EQ(a.history_len, b.history_len);
  EXPECT_EQ(a.split, b.split);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.labels_known, b.labels_known);
  EXPECT_EQ(a.p, b.p);  // floats exactly
  EXPECT_EQ(a.slice_values, b.slice_values);
}

// Rows 0, 1 and many (more than one read buffer), tasks 1 and 31 (all bits), slices 0 and 3.
TEST(Scores, RoundTripIsExact) {
  for (const auto& [rows, tasks, slices] :
       {std::array<size_t, 3>{0, 1, 0}, {1, 1, 0}, {1, 31, 3}, {20000, 2, 3}}) {
    SCOPED_TRACE(::testing::Message() << rows << " rows, seed 5");
    const ScoreTable table = RandomScoreTable(rows, tasks, slices, 5);
    const std::string path = TestPath("round_trip.csv");
    ASSERT_TRUE(WriteScores(path, table).ok());
    const auto read = ReadScores(path);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectEqual(table, *read);
    EXPECT_FALSE(Exists(path + ".tmp"));
  }
}

TEST(Scores, ExtremeValuesRoundTrip) {
  ScoreTable table = RandomScoreTable(6, 1, 1, 1);
  table.p = {0.0f,
             1.0f,
             std::nextafter(1.0f, 0.0f),
             std::numeric_limits<float>::denorm_min(),
             std::numeric_limits<float>::min(),
             1.0f / 3.0f};
  table.event_id[0] = std::numeric_limits<uint64_t>::max();
  table.request_time_ms = {
      std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), -1, 0, 1, 2};
  table.history_len[0] = std::numeric_limits<uint32_t>::max();
  const std::string path = TestPath("extreme.csv");
  ASSERT_TRUE(WriteScores(path, table).ok());
  const auto read = ReadScores(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectEqual(table, *read);
}

TEST(Scores, TextIsAsDocumented) {
  ScoreTable table;
  table.tasks = {"click", "like"};
  table.slices = {"tab"};
  table.event_id = {12};
  table.user_key = {34};
  table.page_id = {0};
  table.request_time_ms = {1650816000000};
  table.history_len = {50};
  table.split = {Split::kTest};
  table.labels = {1};
  table.labels_known = {1};
  table.p = {0.1f, 0.25f};
  table.slice_values = {7};
  const std::string path = TestPath("documented.csv");
  ASSERT_TRUE(WriteScores(path, table).ok());
  EXPECT_EQ(ReadFile(path, 1000).value(),
            "event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click,"
            "label:like,p:like,slice:tab\n"
            "12,34,0,1650816000000,50,test,1,0.100000001,,0.25,7\n");
}

TEST(Scores, WriterRefusesWhatReadersWould) {
  const std::string path = TestPath("refused.csv");
  using Names = std::vector<std::string>;
  for (const Names& tasks : {Names{}, Names{""}, Names{"a,b"}, Names{"a\"b"}, Names{"a\nb"},
                             Names{"\xff"}, Names{"a", "a"}, Names(32, "a")}) {
    EXPECT_EQ(ScoreWriter::Create(path, tasks, {}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << ::testing::PrintToString(tasks);
  }
  EXPECT_TRUE(ScoreWriter::Create(path, {"\xe7\x82\xb9\xe5\x87\xbb"}, {}).ok());  // UTF-8

  auto writer = ScoreWriter::Create(path, {"click"}, {});
  ASSERT_TRUE(writer.ok());
  for (const float wrong : {-0.1f, 1.5f, std::numeric_limits<float>::quiet_NaN()}) {
    ScoreRow row;
    row.p = absl::MakeConstSpan(&wrong, 1);
    EXPECT_EQ((*writer)->Append(row).code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
  ASSERT_TRUE((*writer)->Close().ok());
  EXPECT_EQ(ReadScores(path).value().rows(), 0u);
}

TEST(Scores, UnclosedWriterLeavesTheOldFile) {
  const std::string path = TestPath("unclosed.csv");
  ASSERT_TRUE(WriteScores(path, RandomScoreTable(3, 1, 0, 1)).ok());
  {
    auto writer = ScoreWriter::Create(path, {"click"}, {});
    ASSERT_TRUE(writer.ok());
    const float p = 0.5f;
    ScoreRow row;
    row.p = absl::MakeConstSpan(&p, 1);
    ASSERT_TRUE((*writer)->Append(row).ok());
  }
  EXPECT_FALSE(Exists(path + ".tmp"));
  EXPECT_EQ(ReadScores(path).value().rows(), 3u);
}

}  // namespace
}  // namespace grab
