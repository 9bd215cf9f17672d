// The reader of score files trusts nothing: every wrong cell is an error that names file and line,
// every truncation off a line boundary is refused, and random damage never crashes it (sanitizer
// builds run this too).
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/rng.h"
#include "eval/scores.h"
#include "support/eval_table.h"
#include "support/memory_file.h"

namespace grab {
namespace {

const char kHeader[] =
    "event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click,slice:tab\n";
const char kRow[] = "1,2,3,4,5,test,1,0.5,6\n";

MemoryFile& File() {
  static MemoryFile file;
  return file;
}

StatusOr<ScoreTable> Read(const std::string& text) {
  File().Set(text);
  return ReadScores(File().path());
}

TEST(ScoresFault, WrongCellsNameFileAndLine) {
  ASSERT_TRUE(Read(std::string(kHeader) + kRow + kRow).ok());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"1,2,3,4,5,test,1,0.5", "expected 9 values, got 8"},
      {"1,2,3,4,5,test,1,0.5,6,7", "expected 9 values, got 10"},
      {"", "expected 9 values, got 1"},
      {"-1,2,3,4,5,test,1,0.5,6", "event_id"},
      {"18446744073709551616,2,3,4,5,test,1,0.5,6", "event_id"},
      {"1,x,3,4,5,test,1,0.5,6", "user_key"},
      {"1,2,3.0,4,5,test,1,0.5,6", "page_id"},
      {"1,2,3,9223372036854775808,5,test,1,0.5,6", "request_time_ms"},
      {"1,2,3,4,4294967296,test,1,0.5,6", "history_len"},
      {"1,2,3,4,5,tests,1,0.5,6", "split"},
      {"1,2,3,4,5,test,2,0.5,6", "label:click"},
      {"1,2,3,4,5,test,1,1.5,6", "p:click"},
      {"1,2,3,4,5,test,1,-0.5,6", "p:click"},
      {"1,2,3,4,5,test,1,nan,6", "p:click"},
      {"1,2,3,4,5,test,1,inf,6", "p:click"},
      {"1,2,3,4,5,test,1,,6", "p:click"},
      {"1,2,3,4,5,test,1, 0.5,6", "p:click"},
      {"1,2,3,4,5,test,1,0.5,6\r", "slice:tab"},
  };
  for (const auto& [line, text] : cases) {
    SCOPED_TRACE(line);
    const Status status = Read(std::string(kHeader) + kRow + line + "\n").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(status.ToString().find(File().path() + ":3: "), std::string::npos) << status;
    EXPECT_NE(status.ToString().find(text), std::string::npos) << status;
  }
}

TEST(ScoresFault, WrongHeadersAreRefused) {
  for (const std::string header :
       {"", "\n", "event_id\n", "label:click,p:click\n",
        "event_id,user_key,page_id,request_time_ms,history_len,split\n",
        "event_id,user_key,page_id,request_time_ms,history_len,split,p:click,label:click\n",
        "event_id,user_key,page_id,request_time_ms,history_len,split,label:a,p:click\n",
        "event_id,user_key,page_id,request_time_ms,history_len,split,label:a,p:a,label:a,p:a\n",
        "event_id,user_key,page_id,request_time_ms,history_len,split,label:a,p:a,extra\n"}) {
    SCOPED_TRACE(header);
    EXPECT_EQ(Read(header).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(ReadScores("/nonexistent/scores.csv").status().code(), absl::StatusCode::kNotFound);
}

TEST(ScoresFault, LongLinesAreRefusedWithoutReadingThemWhole) {
  // Just beyond the limit, with and without a newline, and many read buffers long.
  for (const uint64_t bytes : {kScoreLineBytesMax + 1, kScoreLineBytesMax * 64}) {
    for (const std::string& end : {std::string("\n"), std::string()}) {
      const Status status = Read(kHeader + std::string(bytes, '1') + end).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_NE(status.ToString().find(":2: is longer"), std::string::npos) << status;
    }
  }
}

TEST(ScoresFault, EveryTruncationOffALineIsRefused) {
  const std::string text = std::string(kHeader) + kRow + kRow + kRow;
  for (size_t bytes = 0; bytes < text.size(); ++bytes) {
    const auto read = Read(text.substr(0, bytes));
    EXPECT_EQ(read.ok(), bytes > 0 && text[bytes - 1] == '\n') << bytes;
  }
}

TEST(ScoresFault, RandomDamageNeverCrashesAndNeverBreaksTheColumns) {
  const std::string path = JoinPath(::testing::TempDir(), "eval_scores_fault.csv");
  ASSERT_TRUE(WriteScores(path, RandomScoreTable(20, 2, 2, 1)).ok());
  const std::string text = ReadFile(path, 1 << 20).value();
  const char interesting[] = ",,\n\n0159.-+eE:xp\"\0\xff";
  int refused = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    std::string damaged = text;
    for (uint64_t edits = 1 + rng.Below(4); edits > 0; --edits) {
      const size_t at = rng.Below(damaged.size());
      const size_t length = std::min<size_t>(1 + rng.Below(8), damaged.size() - at);
      switch (rng.Below(3)) {
        case 0:
          damaged[at] = interesting[rng.Below(sizeof(interesting) - 1)];
          break;
        case 1:
          damaged.erase(at, length);
          break;
        default:
          damaged.insert(at, damaged.substr(rng.Below(damaged.size()), length));
      }
    }
    const auto read = Read(damaged);
    refused += !read.ok();
    if (!read.ok()) continue;
    const size_t n = read->rows();
    EXPECT_EQ(read->p.size(), n * read->tasks.size());
    EXPECT_EQ(read->slice_values.size(), n * read->slices.size());
    EXPECT_EQ(read->split.size(), n);
    EXPECT_EQ(read->labels.size(), n);
    EXPECT_EQ(read->history_len.size(), n);
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace grab
