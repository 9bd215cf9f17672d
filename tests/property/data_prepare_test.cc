// Properties of ingest on random logs: the same bytes whatever the threads, the memory limit and
// the order of tied rows in the log; every row accounted for; one row set in any number of shards.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

struct Row {
  uint64_t user;
  uint64_t time_ms;
  uint64_t item;
  bool click;
};

// Few times per user, so that many rows are tied, and some rows twice.
std::vector<Row> RandomRows(uint64_t seed, size_t n, uint64_t users, uint64_t times) {
  Rng rng(seed);
  std::vector<Row> rows;
  for (size_t i = 0; i < n; ++i) {
    rows.push_back({rng.Below(users), rng.Below(times), rng.Below(50), rng.Bernoulli(0.3)});
    if (rng.Bernoulli(0.05)) rows.push_back(rows.back());
  }
  return rows;
}

void WriteRows(const std::vector<Row>& rows, const std::string& dir, size_t files) {
  for (size_t file = 0; file < files; ++file) {
    std::ofstream out(JoinPath(dir, absl::StrCat("log", file, ".csv")));
    out << "u,t,item,clk\n";
    for (size_t i = file * rows.size() / files; i < (file + 1) * rows.size() / files; ++i) {
      out << rows[i].user << ',' << rows[i].time_ms << ',' << rows[i].item << ',' << rows[i].click
          << '\n';
    }
  }
}

Config LogConfig(const std::string& dir) {
  Config config;
  config.data_dir = dir;
  config.sources.resize(1);
  config.sources[0].name = "log";
  config.sources[0].files = {"log*.csv"};
  config.sources[0].columns = {"u BIGINT", "t BIGINT", "item BIGINT", "clk BOOLEAN"};
  config.events.resize(1);
  config.events[0].name = "log";
  config.events[0].from = "log";
  config.events[0].user = "u";
  config.events[0].request_time_ms = "t";
  config.events[0].split = "'train'";
  config.fields.resize(2);
  config.fields[0].name = "item";
  config.fields[1].name = "user";
  config.fields[1].expr = "u";
  config.actions = {{"clk", ""}};
  config.tasks.resize(1);
  config.tasks[0].name = "clk";
  config.tasks[0].label = "clk";
  config.prepare.shards = 3;
  config.prepare.block_events_max = 500;
  return config;
}

// Content of all shards, and the manifest.
std::string Bytes(const Config& config, const std::string& out, PrepareReport* report) {
  auto prepared = Prepare(config, out, NoProgress());
  EXPECT_TRUE(prepared.ok()) << prepared.status();
  if (!prepared.ok()) return "";
  *report = *std::move(prepared);
  std::string bytes;
  const auto names = ListDirectory(out);
  EXPECT_TRUE(names.ok());
  for (const std::string& name : *names) {
    if (name == kReportName) continue;
    const auto content = ReadFile(JoinPath(out, name), 1 << 28);
    EXPECT_TRUE(content.ok()) << content.status();
    absl::StrAppend(&bytes, name, ":", *content);
  }
  return bytes;
}

TEST(PrepareProperty, BytesDoNotDependOnThreads) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const char* order : {"", "item"}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", order '" << order << "'");
      const TempDir dir;
      WriteRows(RandomRows(seed, 20000, 300, 20), dir.path(), 5);
      Config config = LogConfig(dir.path());
      config.events[0].order = order;
      PrepareReport report;
      std::string first;
      for (const int threads : {1, 2, 4}) {
        config.prepare.threads = threads;
        const std::string bytes = Bytes(config, dir.File(absl::StrCat("out", threads)), &report);
        if (first.empty()) first = bytes;
        EXPECT_TRUE(bytes == first && !bytes.empty()) << threads << " threads";
      }
    }
  }
}

// With `order` constant every tie is decided by content: shuffling the log must change nothing.
TEST(PrepareProperty, TiesAreOrderedByContent) {
  const TempDir dir;
  constexpr uint64_t kSeed = 4;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::vector<Row> rows = RandomRows(kSeed, 5000, 100, 10);
  Config config = LogConfig(dir.path());
  config.events[0].order = "0";
  PrepareReport report;
  WriteRows(rows, dir.path(), 2);
  const std::string first = Bytes(config, dir.File("a"), &report);
  Rng rng(kSeed);
  Shuffle(rows, rng);
  WriteRows(rows, dir.path(), 2);
  EXPECT_TRUE(first == Bytes(config, dir.File("b"), &report));
}

// 64 MB for 1 M rows of about 100 bytes each in the sort: it must spill, and give the same shards
// as with 2 GB.
TEST(PrepareProperty, SpillingChangesNothing) {
  const TempDir dir;
  constexpr uint64_t kSeed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  WriteRows(RandomRows(kSeed, 1000000, 20000, 1000), dir.path(), 1);
  Config config = LogConfig(dir.path());
  config.prepare.block_events_max = 65536;
  config.prepare.threads = 1;
  // Text keys that make the rows wide; they enter no shard.
  config.events[0].order = "concat('a rather long text that sorts by ', item)";
  PrepareReport report;
  const std::string no_folder = JoinPath(dir.File("log0.csv"), "spill");
  config.prepare.temp_dir = no_folder;
  config.prepare.memory_limit_mb = 2048;
  const std::string large = Bytes(config, dir.File("large"), &report);
  config.prepare.memory_limit_mb = 64;
  EXPECT_FALSE(Prepare(config, dir.File("nowhere"), NoProgress()).ok());
  config.prepare.temp_dir = "";
  const std::string small = Bytes(config, dir.File("small"), &report);
  EXPECT_TRUE(large == small && !small.empty());
}

// Against a reference that sorts and drops duplicates in memory: the number of events, the events
// of every user in order, and the same rows hash for every number of shards.
TEST(PrepareProperty, EveryRowIsAccountedFor) {
  const TempDir dir;
  constexpr uint64_t kSeed = 6;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<Row> rows = RandomRows(kSeed, 3000, 200, 30);
  WriteRows(rows, dir.path(), 3);
  std::map<std::string, std::vector<Row>> expected;
  size_t kept = 0;
  for (const Row& row : rows) {
    std::vector<Row>& of_user = expected[std::to_string(row.user)];
    const bool seen = std::any_of(of_user.begin(), of_user.end(), [&](const Row& other) {
      return other.time_ms == row.time_ms && other.item == row.item && other.click == row.click;
    });
    if (!seen) of_user.push_back(row);
    kept += !seen;
  }
  Config config = LogConfig(dir.path());
  config.events[0].duplicate_key = "log";
  std::string rows_hash;
  for (const int64_t shards : {1, 2, 7}) {
    config.prepare.shards = shards;
    const std::string out = dir.File(absl::StrCat("out", shards));
    PrepareReport report;
    Bytes(config, out, &report);
    EXPECT_EQ(report.events, kept);
    EXPECT_EQ(report.notes.count("exact duplicates dropped"), rows.size() - kept);
    if (rows_hash.empty()) rows_hash = report.rows_hash;
    EXPECT_EQ(report.rows_hash, rows_hash) << shards << " shards";
    const auto set = ShardSet::Open(out);
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ((*set)->rows_hash(), rows_hash);
    size_t users = 0;
    for (const ShardSet::BlockRef& ref : (*set)->blocks()) {
      const auto block = (*set)->Read(ref);
      ASSERT_TRUE(block.ok()) << block.status();
      for (size_t user = 0; user < block->users(); ++user, ++users) {
        std::vector<Row> want = expected.at(block->user_id[user]);
        std::stable_sort(want.begin(), want.end(),
                         [](const Row& a, const Row& b) { return a.time_ms < b.time_ms; });
        const uint32_t begin = block->user_offsets[user];
        ASSERT_EQ(block->user_offsets[user + 1] - begin, want.size());
        for (size_t i = 0; i < want.size(); ++i) {
          EXPECT_EQ(block->events.request_time_ms[begin + i],
                    static_cast<int64_t>(want[i].time_ms));
          EXPECT_EQ(block->events.fields[0].ids[begin + i], HashId(std::to_string(want[i].item)));
          EXPECT_EQ(block->events.labels[begin + i], want[i].click);
        }
      }
    }
    EXPECT_EQ(users, expected.size());
  }
}

}  // namespace
}  // namespace grab
