// Passes over the simulator's log: what a pass prepares depends on the log up to its end and on
// nothing else, and over passes that tile time the labels are those of the world.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "config/config.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "data/simulator.h"
#include "support/base_temp_dir.h"
#include "support/growing_log.h"

namespace grab {
namespace {

constexpr int64_t kStartMs = 1704067200000;  // 2024-01-01, where the world begins
constexpr int64_t kHourMs = 3600000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kDays = 6;

class PassProperty : public testing::Test {
 protected:
  void SetUp() override {
    auto config = LoadConfig(JoinPath(GRAB_SOURCE_DIR, "configs/simulator.toml"), {});
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = *std::move(config);
    config_.simulate.users = 150;
    config_.simulate.days = kDays;
    config_.simulate.chunk_rows = 3000;
    config_.data_dir = dir_.File("world");
    const Status status = Simulate(config_.simulate, config_.data_dir, NoProgress());
    ASSERT_TRUE(status.ok()) << status;
  }

  // The bytes of all shards.
  std::string Bytes(const std::string& log, const TimeRange& pass, int64_t context_ms) {
    Config config = config_;
    config.data_dir = log;
    const std::string out = dir_.File("out");
    EXPECT_TRUE(RemoveAll(out).ok());
    const auto report = PrepareRange(config, pass, context_ms, out, NoProgress());
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return "";
    report_ = *report;
    std::string bytes;
    for (int64_t shard = 0; shard < config.prepare.shards; ++shard) {
      const auto file = ReadFile(JoinPath(out, absl::StrFormat("shard-%04d.grab", shard)), 1 << 28);
      EXPECT_TRUE(file.ok()) << file.status();
      absl::StrAppend(&bytes, file.value_or(""), "|");
    }
    return bytes;
  }

  TempDir dir_;
  Config config_;
  PrepareReport report_;
};

// The whole world against a log that was written up to the pass's end, in files of random lengths
// whose rows are in no order: a row more, or a label that looks past the end, would show. Passes of
// hours to days, contexts that cut and that do not, one to three threads.
TEST_F(PassProperty, ACompleteLogGivesWhatTheLogOfThatTimeGave) {
  for (const uint64_t seed : {1, 2, 3}) {
    Rng rng(seed);
    TimeRange pass;
    pass.from_ms = kStartMs + kDayMs + static_cast<int64_t>(rng.Below(3 * kDayMs));
    pass.to_ms = pass.from_ms + kHourMs + static_cast<int64_t>(rng.Below(30 * kHourMs));
    const int64_t context_ms = seed == 1 ? 0 : static_cast<int64_t>(rng.Below(2 * kDayMs));
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": [" << pass.from_ms << ", "
                                    << pass.to_ms << "), context " << context_ms << " ms");
    const std::string log = dir_.File(absl::StrCat("log", seed));
    for (int64_t at = kStartMs; at < pass.to_ms;) {
      const int64_t next =
          std::min(pass.to_ms, at + static_cast<int64_t>(rng.Below(40 * kHourMs)) + 1);
      const Status grown = GrowLog(config_.data_dir, {at, next}, log);
      ASSERT_TRUE(grown.ok()) << grown;
      at = next;
    }
    config_.prepare.threads = static_cast<int64_t>(seed);
    const std::string expected = Bytes(log, pass, context_ms);
    ASSERT_GT(report_.targets[1], 100u);
    EXPECT_EQ(report_.left_out.hidden + report_.left_out.after, 0u);
    const PrepareReport of_then = report_;
    config_.prepare.threads = 2;
    EXPECT_TRUE(expected == Bytes(config_.data_dir, pass, context_ms));
    EXPECT_EQ(report_.rows_hash, of_then.rows_hash);
    EXPECT_EQ(report_.rows_read, of_then.rows_read);
    EXPECT_GT(report_.left_out.hidden, 0u);
  }
}

// Over passes that tile the world, each impression's click is asked once, and so is the purchase
// after each click, with the answers that SQL over the whole log gives. The last passes lie behind
// the log's end, where the last purchases become final.
TEST_F(PassProperty, TiledPassesAskEveryLabelOnce) {
  auto db = DuckDb::Open({.memory_limit_mb = 1024, .threads = 1});
  ASSERT_TRUE(db.ok()) << db.status();
  const auto table = [&](const char* glob) {
    return absl::StrCat("read_parquet(", SqlString(JoinPath(config_.data_dir, glob)), ")");
  };
  auto query = (*db)->Query(absl::StrCat(
      "SELECT event_id, clicked, EXISTS (FROM ", table("conversions/*.parquet"),
      " c WHERE c.impression_event_id = i.event_id AND c.time_ms <= i.request_time_ms + 86400000) "
      "FROM ",
      table("impressions/*.parquet"), " i"));
  ASSERT_TRUE(query.ok()) << query.status();
  std::map<std::pair<uint64_t, int>, bool> expected;  // (event, task) to label
  uint64_t purchases = 0;
  while (*(*query)->Next()) {
    for (uint64_t row = 0; row < (*query)->rows(); ++row) {
      const uint64_t event = HashId((*query)->column(0).Get<int64_t>(row));
      const bool clicked = (*query)->column(1).Get<bool>(row);
      expected[{event, 0}] = clicked;
      if (clicked) expected[{event, 1}] = (*query)->column(2).Get<bool>(row);
      purchases += clicked && (*query)->column(2).Get<bool>(row);
    }
  }
  ASSERT_GT(purchases, 50u);
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  Rng rng(kSeed);
  std::map<std::pair<uint64_t, int>, bool> asked;
  for (int64_t at = kStartMs; at < kStartMs + (kDays + 1) * kDayMs + 60000;) {
    const TimeRange pass = {at, at + static_cast<int64_t>(rng.Below(2 * kDayMs)) + 1};
    Bytes(config_.data_dir, pass, kHourMs);
    const auto set = ShardSet::Open(dir_.File("out"));
    ASSERT_TRUE(set.ok()) << set.status();
    for (const ShardSet::BlockRef& ref : (*set)->blocks()) {
      const auto block = (*set)->Read(ref);
      ASSERT_TRUE(block.ok()) << block.status();
      const EventColumns& events = block->events;
      for (size_t i = 0; i < events.size(); ++i) {
        ASSERT_LT(events.known_time_ms[i], pass.to_ms);
        ASSERT_EQ(events.split[i] == Split::kTrain, events.labels_known[i] != 0);
        for (int task = 0; task < 2; ++task) {
          if ((events.labels_known[i] >> task & 1) == 0) continue;
          const bool label = (events.labels[i] >> task & 1) != 0;
          ASSERT_TRUE(asked.insert({{events.event_id[i], task}, label}).second)
              << "asked twice: event " << events.event_id[i] << ", task " << task;
        }
      }
    }
    at = pass.to_ms;
  }
  EXPECT_TRUE(asked == expected) << asked.size() << " labels, expected " << expected.size();
}

}  // namespace
}  // namespace grab
