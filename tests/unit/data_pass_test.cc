// Preparing single passes over small logs that the tests write: which events are read, which are
// targets of which task, what is hidden and counted, and the ledger of late events while files are
// added to the log between passes. Expected values are worked out by hand from the log text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <optional>

#include "base/file.h"
#include "base/hash.h"
#include "data/duckdb.h"
#include "data/pass_ledger.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using testing::HasSubstr;

// Impressions (id, user, request, known, clicked) and their conversions (of which impression,
// when), as CSV files. A click is asked at once; whether it converted within 100 s is final after
// 100 s.
Config LogConfig(const std::string& dir) {
  Config config;
  config.data_dir = dir;
  config.sources.resize(2);
  config.sources[0].name = "log";
  config.sources[0].files = {"log*.csv"};
  config.sources[0].columns = {"id BIGINT", "u VARCHAR", "t BIGINT", "k BIGINT", "clk INTEGER"};
  config.sources[1].name = "buys";
  config.sources[1].files = {"buys*.csv"};
  config.sources[1].columns = {"of BIGINT", "t BIGINT"};
  config.sources[1].time_ms = "t";
  config.events.resize(1);
  config.events[0].name = "impressions";
  config.events[0].from = "log AS e LEFT JOIN buys AS b ON b.of = e.id";
  config.events[0].user = "u";
  config.events[0].request_time_ms = "e.t";
  config.events[0].known_time_ms = "e.k";
  config.events[0].event_id = "id";
  config.events[0].order = "id";
  config.fields.resize(1);
  config.fields[0].name = "bought";
  config.fields[0].expr = "CASE WHEN b.of IS NULL THEN 'no' ELSE 'yes' END";
  config.actions = {{"clk", ""}};
  config.tasks.resize(2);
  config.tasks[0].name = "click";
  config.tasks[0].label = "clk";
  config.tasks[1].name = "buy";
  config.tasks[1].label = "CASE WHEN clk = 1 THEN coalesce(b.t <= e.t + 100000, false) END";
  config.tasks[1].delay_s = 100;
  config.prepare.shards = 1;
  config.prepare.threads = 2;
  config.prepare.bad_fraction_max = 0.0;
  return config;
}

class PassTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& rows) {
    std::ofstream(dir_.File(name), std::ios::binary)
        << (name[0] == 'l' ? "id,u,t,k,clk\n" : "of,t\n") << rows;
  }

  std::unique_ptr<ShardSet> Pass(const TimeRange& pass, int64_t context_ms) {
    const std::string out = dir_.File(absl::StrCat("out", ++outs_));
    auto report = PrepareRange(config_, pass, context_ms, out, NoProgress());
    EXPECT_TRUE(report.ok()) << report.status();
    if (report.ok()) report_ = *std::move(report);
    auto set = ShardSet::Open(out);
    EXPECT_TRUE(set.ok()) << set.status();
    return set.ok() ? *std::move(set) : nullptr;
  }

  struct Event {
    int64_t known_ms = 0;
    Split split = Split::kContext;
    uint32_t labels = 0;
    uint32_t labels_known = 0;
    uint64_t bought = 0;
    bool operator==(const Event&) const = default;
  };

  // By request time, which these logs give each event for itself.
  static std::map<int64_t, Event> Events(const ShardSet& set) {
    std::map<int64_t, Event> events;
    for (const ShardSet::BlockRef& ref : set.blocks()) {
      const auto block = set.Read(ref);
      EXPECT_TRUE(block.ok()) << block.status();
      const EventColumns& columns = block->events;
      for (size_t i = 0; i < columns.size(); ++i) {
        events[columns.request_time_ms[i]] = {columns.known_time_ms[i], columns.split[i],
                                              columns.labels[i], columns.labels_known[i],
                                              columns.fields[0].ids[i]};
      }
    }
    return events;
  }

  TempDir dir_;
  Config config_ = LogConfig(dir_.path());
  PrepareReport report_;
  int outs_ = 0;
};

// Passes of 1000 s. Event 1 is clicked and bought 50 s later, 2 is clicked and bought too late, 3
// is no click, 4 lies near the end: its click is final in the first pass, its purchase in the
// second. 5 is known in the second pass only. The log is complete from the start.
TEST_F(PassTest, EveryLabelCountsInThePassInWhichItBecomesFinal) {
  Write("log.csv",
        "1,a,100000,100500,1\n2,a,200000,200500,1\n3,b,300000,300500,0\n4,a,950000,950500,1\n"
        "5,b,999999,1000000,1\n6,a,2100000,2100000,1\n");
  Write("buys.csv", "1,150000\n2,300001\n4,1049000\n");
  const auto first = Pass({0, 1000000}, 0);
  ASSERT_NE(first, nullptr);
  const auto events = Events(*first);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events.at(100000).labels_known, 3u);
  EXPECT_EQ(events.at(100000).labels, 3u);
  EXPECT_EQ(events.at(200000).labels_known, 3u);
  EXPECT_EQ(events.at(200000).labels, 1u);
  EXPECT_EQ(events.at(300000).labels_known, 1u);
  EXPECT_EQ(events.at(300000).labels, 0u);
  EXPECT_EQ(events.at(950000).labels_known, 1u);
  EXPECT_EQ(events.at(950000).bought, HashId("no")) << "its purchase is not known yet";
  EXPECT_EQ(report_.targets[1], 4u);
  EXPECT_EQ(report_.left_out.after, 2u);
  EXPECT_EQ(report_.left_out.hidden, 1u);
  EXPECT_EQ(report_.left_out.before + report_.left_out.untimed, 0u);

  const auto second = Pass({1000000, 2000000}, 0);
  ASSERT_NE(second, nullptr);
  const auto later = Events(*second);
  ASSERT_EQ(later.size(), 5u);
  for (const int64_t context : {100000, 200000, 300000}) {
    EXPECT_EQ(later.at(context).split, Split::kContext);
    EXPECT_EQ(later.at(context).labels_known, 0u);
  }
  EXPECT_EQ(later.at(950000).split, Split::kTrain);
  EXPECT_EQ(later.at(950000).labels_known, 2u);
  EXPECT_EQ(later.at(950000).labels, 2u);
  EXPECT_EQ(later.at(950000).bought, HashId("yes"));
  EXPECT_EQ(later.at(999999).labels_known, 3u);
  EXPECT_EQ(later.at(999999).labels, 1u);
}

// A label is final at the pass's end for the next pass, a millisecond earlier for this one.
TEST_F(PassTest, BoundariesBelongToTheLaterPass) {
  Write("log.csv", "1,a,900000,900000,1\n2,a,899999,899999,1\n3,b,1000000,1000000,1\n");
  Write("buys.csv", "");
  const auto set = Pass({0, 1000000}, 0);
  ASSERT_NE(set, nullptr);
  const auto events = Events(*set);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events.at(900000).labels_known, 1u);
  EXPECT_EQ(events.at(899999).labels_known, 3u);
}

// The context reaches back from the oldest request whose purchase can become final: 2000 s less
// 100 s of delay and 300 s of context.
TEST_F(PassTest, ContextIsBoundedAndCounted) {
  Write("log.csv", "1,a,1000000,1599999,1\n2,a,1200000,1600000,1\n3,a,2500000,2500000,1\n");
  Write("buys.csv", "");
  const TimeRange pass = {2000000, 3000000};
  EXPECT_EQ(KnownRange(config_, pass, 300000), (TimeRange{1600000, 3000000}));
  EXPECT_EQ(KnownRange(config_, pass, 0), (TimeRange{0, 3000000}));
  const auto set = Pass(pass, 300000);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(Events(*set).size(), 2u);
  EXPECT_EQ(report_.left_out.before, 1u);
  EXPECT_EQ(report_.rows_read, 2u);
}

// Rows without a time are in no range; filtered rows are counted in theirs. Broken lines have no
// range, and their share is that of the whole log: one in nine here.
TEST_F(PassTest, NothingVanishes) {
  Write("log.csv",
        "1,a,100,100,1\n2,a,200,,1\n3,a,300,300,1\n4,a,400,400,1\n5,a,9000,9000,1\n"
        "6,a,9100,9100,1\n7,a,50000,50000,1\n8,,350,350,1\nbroken\n");
  Write("buys.csv", "");
  config_.events[0].where = "id <> 3 AND id <> 5";
  config_.prepare.bad_fraction_max = 2.0 / 9;
  ASSERT_NE(Pass({0, 1000}, 0), nullptr);
  EXPECT_EQ(report_.events, 2u);
  EXPECT_EQ(report_.rows_filtered, 1u);
  EXPECT_EQ(report_.rejects.total(), 2u);  // no user; broken
  EXPECT_EQ(report_.left_out.untimed, 1u);
  EXPECT_EQ(report_.left_out.after, 3u);
  EXPECT_EQ(report_.rows_read + report_.left_out.total(), 9u);
  EXPECT_THAT(report_.ToJson(), HasSubstr("\"untimed\": 1"));
  config_.prepare.bad_fraction_max = 0.2;
  const Status refused =
      PrepareRange(config_, {0, 1000}, 0, dir_.File("refused"), NoProgress()).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("2 of 9 rows"));
}

// What the log declares to be history stays history; the other words of a split expression mean
// nothing to a pass, nor do the times of [split].
TEST_F(PassTest, SplitExpressionsMakeContext) {
  Write("log.csv", "1,a,100,100,1\n2,a,200,200,1\n3,a,300,300,1\n");
  Write("buys.csv", "");
  config_.events[0].split = "CASE id WHEN 1 THEN 'context' WHEN 2 THEN 'test' ELSE NULL END";
  config_.split = {"2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z",
                   "2024-01-04T00:00:00Z"};
  const auto set = Pass({0, 1000}, 0);
  ASSERT_NE(set, nullptr);
  const auto events = Events(*set);
  EXPECT_EQ(events.at(100).split, Split::kContext);
  EXPECT_EQ(events.at(200).split, Split::kTrain);
  EXPECT_EQ(events.at(300).split, Split::kContext);
  config_.events[0].split = "";
  const auto all = Pass({0, 1000}, 0);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(Events(*all).at(100).split, Split::kTrain);
}

TEST_F(PassTest, AnEmptyPassIsNoError) {
  Write("log.csv", "1,a,100,100,1\n");
  Write("buys.csv", "");
  const auto set = Pass({5000000, 6000000}, 1000);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(report_.events, 0u);
  EXPECT_EQ(set->blocks().size(), 0u);
  EXPECT_EQ(set->schema().tasks.size(), 2u);
}

TEST_F(PassTest, EventsNeedAnId) {
  Write("log.csv", "1,a,100,100,1\n");
  Write("buys.csv", "");
  config_.events[0].event_id = "";
  const Status status = PrepareRange(config_, {0, 1}, 0, dir_.File("x"), NoProgress()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("event_id is missing"));
}

// With [split] a delayed label must be final when the next part begins: the training row's at
// valid_from (2000 s), the others' at the end (4000 s). Its click is known in any case.
TEST_F(PassTest, StaticSplitsKeepDelayedLabelsOutOfTheNextPart) {
  Write("log.csv",
        "1,a,1899999,1899999,1\n2,a,1900000,1900000,1\n3,a,2950000,2950000,1\n"
        "4,a,3899999,3899999,1\n5,a,3900000,3900000,1\n");
  Write("buys.csv", "");
  config_.split = {"1970-01-01T00:16:40Z", "1970-01-01T00:33:20Z", "1970-01-01T00:50:00Z",
                   "1970-01-01T01:06:40Z"};
  const std::string out = dir_.File("static");
  const auto report = Prepare(config_, out, NoProgress());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->left_out.total(), 0u);
  const auto set = ShardSet::Open(out);
  ASSERT_TRUE(set.ok()) << set.status();
  const auto events = Events(**set);
  EXPECT_EQ(events.at(1899999).labels_known, 3u);
  EXPECT_EQ(events.at(1900000).labels_known, 1u);
  EXPECT_EQ(events.at(2950000).labels_known, 3u);
  EXPECT_EQ(events.at(3899999).labels_known, 3u);
  EXPECT_EQ(events.at(3900000).labels_known, 1u);
}

TEST_F(PassTest, LogEndIsTheNewestRequestTime) {
  EXPECT_TRUE(absl::IsNotFound(LogEnd(config_, 0).status())) << "there is no file yet";
  Write("log.csv", "1,a,500,9000,1\n2,a,300,301,1\n3,a,,301,1\n4,a,999999999999999,301,1\n");
  Write("buys.csv", "1,8000\n");
  EXPECT_EQ(*LogEnd(config_, 0), std::optional<int64_t>(500));
  EXPECT_EQ(*LogEnd(config_, 500), std::optional<int64_t>(500));
  EXPECT_EQ(*LogEnd(config_, 501), std::nullopt);
  Write("log2.csv", "7,b,700,700,1\n");
  EXPECT_EQ(*LogEnd(config_, 501), std::optional<int64_t>(700));
  config_.events[0].where = "id <> 7";
  EXPECT_EQ(*LogEnd(config_, 501), std::nullopt);
  config_.events[0].request_time_ms = "e.t * 2";
  EXPECT_EQ(*LogEnd(config_, 501), std::optional<int64_t>(1000));
}

// The first of two row groups is damaged: what is never read is no error.
TEST_F(PassTest, LogEndReadsNoOlderRowGroups) {
  const std::string path = dir_.File("log.parquet");
  {
    auto db = DuckDb::Open({.memory_limit_mb = 128, .threads = 1});
    ASSERT_TRUE(db.ok()) << db.status();
    const Status written = (*db)->Execute(
        absl::StrCat("COPY (SELECT i AS id, 'a' AS u, i AS t, i AS k, 1 AS clk FROM range(4096) "
                     "AS r(i)) TO ",
                     SqlString(path), " (FORMAT parquet, ROW_GROUP_SIZE 2048)"));
    ASSERT_TRUE(written.ok()) << written;
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(4);
    file << std::string(4000, '\xff');
  }
  Write("buys.csv", "");
  config_.sources[0].files = {"log.parquet"};
  config_.sources[0].format = "parquet";
  config_.sources[0].columns.clear();
  EXPECT_EQ(*LogEnd(config_, 2048), std::optional<int64_t>(4095));
  EXPECT_FALSE(LogEnd(config_, 2047).ok());
}

class LedgerTest : public PassTest {
 protected:
  // The pass over [from, from + 1000 s) with 2000 s of context, and what it finds to be late.
  LateEvents Look(PassLedger& ledger, int64_t from_ms) {
    const TimeRange pass = {from_ms, from_ms + 1000000};
    const auto set = Pass(pass, 2000000);
    if (set == nullptr) return {};
    auto late = ledger.Add(*set, pass, KnownRange(config_, pass, 2000000));
    EXPECT_TRUE(late.ok()) << late.status();
    return late.value_or(LateEvents());
  }

  PassLedger Reload(const PassLedger& ledger) {
    const std::string path = dir_.File("passes.json");
    EXPECT_TRUE(ledger.Save(path).ok());
    auto loaded = PassLedger::Load(path);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.value_or(PassLedger());
  }
};

// Files arrive between passes, their rows out of order. Events 3 and 4 come after the pass that
// covers their known times: counted once, when next seen. 5 is requested in the first range but
// known in the second: not late.
TEST_F(LedgerTest, CountsEventsThatComeAfterTheirPass) {
  Write("buys.csv", "");
  Write("log1.csv", "2,b,800000,800000,0\n1,a,100000,100000,1\n");
  PassLedger ledger;
  EXPECT_EQ(Look(ledger, 0).late, 0u);
  ledger = Reload(ledger);
  Write("log2.csv", "6,b,1300000,1300000,0\n3,a,90000,90000,1\n5,a,999999,1000000,1\n");
  EXPECT_EQ(Look(ledger, 1000000).late, 1u);
  EXPECT_EQ(report_.targets[1], 2u) << "5 and 6";
  ledger = Reload(ledger);
  Write("log3.csv", "4,b,1999999,1999999,0\n7,b,2000000,2000000,0\n");
  EXPECT_EQ(Look(ledger, 2000000).late, 1u);
  ledger = Reload(ledger);
  EXPECT_EQ(ledger.passes(), 3u);
  EXPECT_EQ(Look(ledger, 3000000).late, 0u);
  EXPECT_EQ(ledger.passes(), 3u) << "the first pass lies before the context";
}

// Unless saved, a pass that is done again starts from the same ledger; if saved, its own line is
// replaced.
TEST_F(LedgerTest, APassCanBeDoneAgain) {
  Write("buys.csv", "");
  Write("log1.csv", "1,a,100000,100000,1\n");
  PassLedger ledger;
  EXPECT_EQ(Look(ledger, 0).late, 0u);
  const PassLedger saved = Reload(ledger);
  Write("log2.csv", "2,a,200000,200000,1\n3,a,1200000,1200000,1\n");
  for (int again = 0; again < 2; ++again) {
    ledger = saved;
    EXPECT_EQ(Look(ledger, 1000000).late, 1u);
  }
  EXPECT_EQ(Look(ledger, 1000000).late, 0u) << "2 was counted, and 3 is of the pass itself";
  EXPECT_EQ(ledger.passes(), 2u);
}

TEST_F(LedgerTest, CountsEventsThatVanishOrAreReplaced) {
  Write("buys.csv", "");
  Write("log1.csv", "1,a,100000,100000,1\n2,a,200000,200000,1\n3,a,1200000,1200000,1\n");
  PassLedger ledger;
  Look(ledger, 0);
  Look(ledger, 1000000);
  Write("log1.csv", "1,a,100000,100000,1\n9,a,1200000,1200000,1\n");
  const LateEvents late = Look(ledger, 2000000);
  EXPECT_EQ(late.late, 0u);
  EXPECT_EQ(late.gone, 1u);
  EXPECT_EQ(late.passes_changed, 1u);
}

TEST_F(LedgerTest, ADamagedLedgerIsRefused) {
  const std::string path = dir_.File("passes.json");
  EXPECT_EQ(PassLedger::Load(path)->passes(), 0u);
  const std::string good = R"({"from_ms":0,"to_ms":5,"events":1,"events_hash":"00000000000000ff"})";
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string(R"({"format":"grab passes"})"),
        std::string(R"({"format":"other","passes":[]})"),
        std::string(R"({"format":"grab passes","passes":[3]})"),
        absl::StrCat(R"({"format":"grab passes","passes":[)", good, ",", good, "]}"),
        std::string(R"({"format":"grab passes","passes":[{"from_ms":5,"to_ms":5,"events":1,)"
                    R"("events_hash":"1"}]})"),
        std::string(R"({"format":"grab passes","passes":[{"from_ms":0,"to_ms":5,"events":-1,)"
                    R"("events_hash":"1"}]})"),
        std::string(R"({"format":"grab passes","passes":[{"from_ms":0,"to_ms":5,"events":1,)"
                    R"("events_hash":"x"}]})")}) {
    ASSERT_TRUE(WriteFileDurably(path, text).ok());
    const Status status = PassLedger::Load(path).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << text << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  ASSERT_TRUE(
      WriteFileDurably(path, absl::StrCat(R"({"format":"grab passes","passes":[)", good, "]}"))
          .ok());
  EXPECT_EQ(PassLedger::Load(path)->passes(), 1u);
}

}  // namespace
}  // namespace grab
