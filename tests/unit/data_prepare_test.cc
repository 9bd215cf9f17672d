// Ingest of small logs written by the tests: each format, each reason for which a row is rejected
// or noted, order, duplicates, truncation, splits, and what Prepare refuses. Expected values are
// worked out by hand from the log text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "base/hash.h"
#include "data/duckdb.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::SizeIs;

// A config of one CSV source "log" with columns u, t, item, clk and one [[events]] over it.
Config SmallConfig(const std::string& data_dir) {
  Config config;
  config.data_dir = data_dir;
  config.sources.resize(1);
  config.sources[0].name = "log";
  config.sources[0].files = {"log.csv"};
  config.sources[0].columns = {"u VARCHAR", "t VARCHAR", "item VARCHAR", "clk INTEGER"};
  config.events.resize(1);
  config.events[0].name = "impressions";
  config.events[0].from = "log";
  config.events[0].user = "u";
  config.events[0].request_time_ms = "t";
  config.events[0].split = "'train'";
  config.fields.resize(1);
  config.fields[0].name = "item";
  config.actions = {{"clk", ""}};
  config.tasks.resize(1);
  config.tasks[0].name = "ctr";
  config.tasks[0].label = "clk";
  config.prepare.shards = 1;
  config.prepare.threads = 2;
  config.prepare.bad_fraction_max = 1.0;
  return config;
}

class PrepareTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_.File(name), std::ios::binary) << text;
  }

  // The only block of what Prepare made of `config`.
  UserBlock PrepareOne(const Config& config) {
    const std::string out = dir_.File(absl::StrCat("out", ++outs_));
    auto report = Prepare(config, out, NoProgress());
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return {};
    report_ = *std::move(report);
    const auto set = ShardSet::Open(out);
    EXPECT_TRUE(set.ok()) << set.status();
    if (!set.ok() || (*set)->blocks().size() != 1) return {};
    auto block = (*set)->Read((*set)->blocks()[0]);
    EXPECT_TRUE(block.ok()) << block.status();
    return block.ok() ? *std::move(block) : UserBlock();
  }

  Status PrepareStatus(const Config& config) {
    return Prepare(config, dir_.File(absl::StrCat("out", ++outs_)), NoProgress()).status();
  }

  TempDir dir_;
  Config config_ = SmallConfig(dir_.path());
  PrepareReport report_;
  int outs_ = 0;
};

std::vector<uint64_t> Keys(const std::vector<std::string>& ids) {
  std::vector<uint64_t> keys;
  for (const std::string& id : ids) keys.push_back(id.empty() ? 0 : HashId(id));
  return keys;
}

TEST_F(PrepareTest, SortsByUserAndTimeAndHashesIds) {
  Write("log.csv", "u,t,item,clk\nb,30,x,1\na,20,y,0\nb,10,,1\na,5,x,\n");
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.user_id, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(block.user_offsets, (std::vector<uint32_t>{0, 2, 4}));
  EXPECT_EQ(block.events.request_time_ms, (std::vector<int64_t>{5, 20, 10, 30}));
  EXPECT_EQ(block.events.fields[0].ids, Keys({"x", "y", "", "x"}));
  EXPECT_EQ(block.events.event_id, (std::vector<uint64_t>{1, 2, 3, 4}));
  // The first event's clk is NULL: unknown as an action, and no target.
  EXPECT_EQ(block.events.actions, (std::vector<uint32_t>{0, 0, 1, 1}));
  EXPECT_EQ(block.events.actions_known, (std::vector<uint32_t>{0, 1, 1, 1}));
  EXPECT_EQ(block.events.labels_known, (std::vector<uint32_t>{0, 1, 1, 1}));
  EXPECT_EQ(block.events.split,
            (std::vector<Split>{Split::kContext, Split::kTrain, Split::kTrain, Split::kTrain}));
  EXPECT_EQ(report_.notes.count("targets without a known label, made context"), 1u);
  EXPECT_EQ(report_.rejects.total(), 0u);
  EXPECT_EQ(report_.rows_read, 4u);
}

// The same rows through every format and compression give the same rows hash and keys: 42 is 42
// everywhere.
TEST_F(PrepareTest, FormatsAgree) {
  const std::string rows = "7,1000,42,1\n7,2000,43,0\n8,1500,42,\n";
  Write("log.csv", "u,t,item,clk\n" + rows);
  Write("bare.csv", rows);
  std::string tsv = "u,t,item,clk\n" + rows;
  for (char& c : tsv) c = c == ',' ? '\t' : c;
  Write("log.tsv", tsv);
  Write("log.jsonl",
        "{\"u\":7,\"t\":1000,\"item\":42,\"clk\":1}\n\n{\"u\":7,\"t\":2000,\"item\":43,\"clk\":0}\n"
        "{\"u\":8,\"t\":1500,\"item\":42}\n");
  auto db = DuckDb::Open({128, 1, ""});
  ASSERT_TRUE(db.ok());
  const std::string from = absl::StrCat(" FROM read_csv(", SqlString(dir_.File("log.csv")), ")");
  ASSERT_TRUE((*db)
                  ->Execute(absl::StrCat("COPY (SELECT *", from, ") TO ",
                                         SqlString(dir_.File("log.parquet"))))
                  .ok());
  ASSERT_TRUE((*db)
                  ->Execute(absl::StrCat("COPY (SELECT *", from, ") TO ",
                                         SqlString(dir_.File("log.csv.gz")), " (COMPRESSION gzip)"))
                  .ok());
  const UserBlock expected = PrepareOne(config_);
  const std::string rows_hash = report_.rows_hash;
  struct Case {
    const char* file;
    const char* format;
    const char* delimiter;
    bool columns;
    bool header;
  };
  for (const Case& c : {Case{"log.csv", "csv", ",", false, true},
                        {"bare.csv", "csv", ",", true, false},
                        {"log.tsv", "csv", "\t", true, true},
                        {"log.csv.gz", "csv", ",", true, true},
                        {"log.parquet", "parquet", ",", false, true},
                        {"log.jsonl", "json", ",", false, true}}) {
    Config config = config_;
    config.sources[0].files = {c.file};
    config.sources[0].format = c.format;
    config.sources[0].delimiter = c.delimiter;
    config.sources[0].header = c.header;
    if (!c.columns) config.sources[0].columns.clear();
    const UserBlock block = PrepareOne(config);
    EXPECT_EQ(report_.rows_hash, rows_hash) << c.file;
    ASSERT_EQ(block.user_id, expected.user_id) << c.file;
    EXPECT_EQ(block.events.fields[0].ids, Keys({"42", "43", "42"})) << c.file;
  }
}

TEST_F(PrepareTest, TextLayout) {
  Write(
      "log.txt",
      "l1,u1,ad1,1,1600000000,s1:1,s2:1,s9:4\nl2,u1,ad2,0,1600000005,s3:1\nl3,u2,ad1,,1600000001\n"
      "\nno log line\nl4,u2,ad1,1,soon,s1:1\nl5,u2,ad1,1,1600000002,s1\n");
  Config config = config_;
  config.sources[0].files = {"log.txt"};
  config.sources[0].format = "text";
  config.sources[0].columns.clear();
  config.events[0].user = "userid";
  config.events[0].request_time_ms = "timestamp * 1000";
  config.events[0].event_id = "logid";
  config.fields[0].expr = "adid";
  config.fields.resize(3);
  for (int slot : {1, 4}) {
    FieldConfig& field = config.fields[slot == 1 ? 1 : 2];
    field.name = absl::StrCat("slot_", slot);
    field.kind = "ids";
    field.expr = absl::StrCat("slot(signs, ", slot, ")");
  }
  const UserBlock block = PrepareOne(config);
  EXPECT_EQ(block.user_id, (std::vector<std::string>{"u1", "u2"}));
  EXPECT_EQ(block.events.event_id, Keys({"l1", "l2", "l3"}));
  EXPECT_EQ(block.events.request_time_ms,
            (std::vector<int64_t>{1600000000000, 1600000005000, 1600000001000}));
  EXPECT_EQ(block.events.fields[0].ids, Keys({"ad1", "ad2", "ad1"}));
  EXPECT_EQ(block.events.fields[1].offsets, (std::vector<uint32_t>{0, 2, 3, 3}));
  EXPECT_EQ(block.events.fields[1].ids, Keys({"s1", "s2", "s3"}));
  EXPECT_EQ(block.events.fields[2].ids, Keys({"s9"}));
  EXPECT_EQ(block.events.labels_known, (std::vector<uint32_t>{1, 1, 0}));
  EXPECT_EQ(report_.rejects.count("malformed text line"), 2u);
  EXPECT_EQ(report_.rejects.count("missing or unparsable request time"), 1u);
  EXPECT_THAT(report_.rejects.by_reason().at("malformed text line").examples,
              Contains(HasSubstr("no log line")));
  EXPECT_EQ(report_.rows_read, 6u);
}

TEST_F(PrepareTest, CountsEveryReason) {
  Write("log.csv",
        "u,t,item,clk\na,10,x,1\n,10,x,1\na,noon,x,1\na,,x,1\na,-5,x,1\na,999999999999999,x,1\n"
        "a,11,x,one\na,12,x\na,13,x,1,9\na,14,early,1\na,15,nosplit,1\nb,3,skip,1\n" +
            std::string(kUserIdBytesMax + 1, 'u') + ",10,x,1\n");
  config_.sources[0].files = {"log.csv"};
  config_.events[0].known_time_ms =
      "CAST(t AS BIGINT) - CASE WHEN item = 'early' THEN 1 ELSE 0 END";
  config_.events[0].split = "CASE WHEN item = 'nosplit' THEN 'holdout' ELSE 'train' END";
  config_.events[0].where = "item IS DISTINCT FROM 'skip'";
  config_.prepare.examples_max = 2;
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.events.request_time_ms, std::vector<int64_t>{10});
  const auto& rejects = report_.rejects;
  EXPECT_EQ(rejects.count("missing user"), 1u);
  EXPECT_EQ(rejects.count("user id of more than 256 bytes"), 1u);
  EXPECT_EQ(rejects.count("missing or unparsable request time"), 2u);
  EXPECT_EQ(rejects.count("time outside the years 1970 to 9999"), 2u);
  EXPECT_EQ(rejects.count("known before requested"), 1u);
  EXPECT_EQ(rejects.count("unknown split"), 1u);
  EXPECT_EQ(rejects.count("csv: cast"), 1u);
  EXPECT_EQ(rejects.count("csv: missing columns"), 1u);
  EXPECT_EQ(rejects.count("csv: too many columns"), 1u);
  ASSERT_EQ(rejects.total(), 11u);
  EXPECT_EQ(report_.rows_filtered, 1u);
  EXPECT_EQ(report_.rows_read, 13u);
  for (const auto& [reason, entry] : rejects.by_reason()) {
    EXPECT_EQ(entry.examples.size(), std::min<uint64_t>(entry.count, 2)) << reason;
  }
  EXPECT_THAT(rejects.by_reason().at("csv: cast").examples[0], HasSubstr("log.csv:8"));
  EXPECT_THAT(rejects.by_reason().at("unknown split").examples[0], HasSubstr("holdout"));
}

TEST_F(PrepareTest, TooManyBadRowsAreAnErrorWithAReport) {
  Write("log.csv", "u,t,item,clk\na,10,x,1\n,10,x,1\na,12,x,1\na,noon,x,1\n");
  config_.prepare.bad_fraction_max = 0.5;
  PrepareOne(config_);
  EXPECT_EQ(report_.rejects.total(), 2u);
  config_.prepare.bad_fraction_max = 0.49;
  const std::string out = dir_.File("refused");
  const Status status = Prepare(config_, out, NoProgress()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 of 4 rows"));
  EXPECT_FALSE(Exists(out));
  EXPECT_EQ(*ListDirectory(out + ".tmp"), std::vector<std::string>{"report.json"});
  const auto report = ReadFile(out + ".tmp/report.json", 1 << 20);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*report, HasSubstr("missing user"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("report.json"));
}

TEST_F(PrepareTest, DropsExactDuplicatesOnly) {
  Write("log.csv",
        "u,t,item,clk\na,10,x,1\na,10,y,1\na,10,x,1\na,10,x,0\na,11,x,1\nb,10,x,1\na,10,x,1\n");
  config_.events[0].duplicate_key = "log";
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.user_offsets, (std::vector<uint32_t>{0, 4, 5}));
  EXPECT_EQ(block.events.fields[0].ids, Keys({"x", "y", "x", "x", "x"}));
  EXPECT_EQ(block.events.labels, (std::vector<uint32_t>{1, 1, 0, 1, 1}));
  EXPECT_EQ(report_.notes.count("exact duplicates dropped"), 2u);
  EXPECT_EQ(report_.rejects.total(), 0u);
  config_.events[0].duplicate_key = "item";
  EXPECT_EQ(PrepareOne(config_).user_offsets, (std::vector<uint32_t>{0, 3, 4}));
  config_.events[0].duplicate_key = "";
  EXPECT_EQ(PrepareOne(config_).user_offsets, (std::vector<uint32_t>{0, 6, 7}));
}

// Among equal times the file's order, over files in the order of their names; or that of `order`.
TEST_F(PrepareTest, KeepsLogOrderAmongEqualTimes) {
  Write("log.csv", "u,t,item,clk\na,10,m,1\na,10,c,1\na,9,z,1\n");
  Write("log2.csv", "u,t,item,clk\na,10,k,1\na,10,b,1\n");
  config_.sources[0].files = {"log2.csv", "log.csv"};
  EXPECT_EQ(PrepareOne(config_).events.fields[0].ids, Keys({"z", "m", "c", "k", "b"}));
  config_.events[0].from = "log AS l";
  EXPECT_EQ(PrepareOne(config_).events.fields[0].ids, Keys({"z", "m", "c", "k", "b"}));
  config_.events[0].order = "item";
  EXPECT_EQ(PrepareOne(config_).events.fields[0].ids, Keys({"z", "b", "c", "k", "m"}));
  config_.events[0].order = "grab_row % 2";
  EXPECT_THAT(PrepareOne(config_).events.fields[0].ids, SizeIs(5));
  config_.events[0].order = "";
  config_.events[0].from = "(SELECT * FROM log)";
  const Status status = PrepareStatus(config_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("order must be given"));
}

// Sorted by known time, not by request time: a late conversion comes after what was known before
// it.
TEST_F(PrepareTest, SortsByKnownTime) {
  Write("log.csv", "u,t,item,clk\na,10,late,1\na,20,x,1\n");
  config_.events[0].known_time_ms = "CASE WHEN item = 'late' THEN 30 ELSE 20 END";
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.events.fields[0].ids, Keys({"x", "late"}));
  EXPECT_EQ(block.events.known_time_ms, (std::vector<int64_t>{20, 30}));
  EXPECT_EQ(block.events.request_time_ms, (std::vector<int64_t>{20, 10}));
}

// 1000 events against a limit of 100 also crosses the point where an open user is cut while its
// rows still come.
TEST_F(PrepareTest, TruncationKeepsTheNewest) {
  std::string log = "u,t,item,clk\n";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&log, "a,", 1000 - i, ",x,1\n");
  Write("log.csv", log + "b,5,x,1\n");
  config_.prepare.user_events_max = 100;
  const UserBlock block = PrepareOne(config_);
  ASSERT_EQ(block.user_offsets, (std::vector<uint32_t>{0, 100, 101}));
  EXPECT_EQ(block.events.request_time_ms.front(), 901);
  EXPECT_EQ(block.events.request_time_ms[99], 1000);
  EXPECT_EQ(block.events.event_id[0], 901u) << "positions count what was cut";
  EXPECT_EQ(block.events.event_id[100], 1001u);
  EXPECT_EQ(report_.notes.count("events truncated (prepare.user_events_max)"), 900u);
}

TEST_F(PrepareTest, SplitsByTime) {
  Write("log.csv",
        "u,t,item,clk\na,999,x,1\na,1000,x,1\na,1999,x,1\na,2000,x,1\na,3000,x,1\na,4000,x,1\n");
  config_.events[0].split = "";
  config_.split = {"1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00",
                   "1970-01-01T01:00:03+01:00", "1970-01-01T00:00:04+00:00"};
  EXPECT_EQ(PrepareOne(config_).events.split,
            (std::vector<Split>{Split::kContext, Split::kTrain, Split::kTrain, Split::kValid,
                                Split::kTest, Split::kContext}));
  EXPECT_EQ(report_.targets[0], 2u);
  EXPECT_EQ(report_.targets[1], 2u);
  std::swap(config_.split.valid_from, config_.split.test_from);
  EXPECT_EQ(PrepareStatus(config_).code(), absl::StatusCode::kInvalidArgument);
  config_.split = {};
  EXPECT_THAT(PrepareOne(config_).events.split, testing::Each(Split::kContext));
}

TEST_F(PrepareTest, FieldsOfEveryKind) {
  Write("log.jsonl",
        "{\"u\":1,\"t\":1,\"tags\":[\"a\",\"b\",\"c\"],\"w\":[0.5,2,3],\"price\":1.5,\"v\":[1,2]}\n"
        "{\"u\":1,\"t\":2,\"tags\":[\"a\",null,\"\",\"b\"],\"w\":[1,2,3,4]}\n"
        "{\"u\":1,\"t\":3,\"tags\":[\"a\"],\"w\":[]}\n"
        "{\"u\":1,\"t\":4,\"v\":[1,2,3]}\n"
        "{\"u\":1,\"t\":5,\"v\":[1,null]}\n"
        "{\"u\":1,\"t\":6,\"price\":1e39}\n"
        "{\"u\":1,\"t\":7,\"tags\":[],\"w\":[]}\n");
  config_.sources[0].files = {"log.jsonl"};
  config_.sources[0].format = "json";
  config_.sources[0].columns.clear();
  config_.actions.clear();
  config_.tasks.clear();
  config_.fields.resize(3);
  config_.fields[0].name = "tags";
  config_.fields[0].kind = "ids";
  config_.fields[0].weights = "w";
  config_.fields[0].values_max = 2;
  config_.fields[1].name = "price";
  config_.fields[1].kind = "number";
  config_.fields[1].expr = "TRY_CAST(price AS FLOAT)";
  config_.fields[2].name = "vector";
  config_.fields[2].kind = "dense";
  config_.fields[2].width = 2;
  config_.fields[2].expr = "v";
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.events.request_time_ms, (std::vector<int64_t>{1, 2, 6, 7}));
  const auto& fields = block.events.fields;
  EXPECT_EQ(fields[0].offsets, (std::vector<uint32_t>{0, 2, 4, 4, 4}));
  EXPECT_EQ(fields[0].ids, Keys({"a", "b", "a", "b"}));
  EXPECT_EQ(fields[0].numbers, (std::vector<float>{0.5f, 2, 1, 4}));
  EXPECT_EQ(fields[1].numbers[0], 1.5f);
  EXPECT_TRUE(std::isnan(fields[1].numbers[1]));
  EXPECT_EQ(fields[2].numbers[1], 2.0f);
  EXPECT_TRUE(std::isnan(fields[2].numbers[2]) && std::isnan(fields[2].numbers[3]));
  EXPECT_EQ(report_.rejects.count("weights do not match the ids"), 1u);
  EXPECT_EQ(report_.rejects.count("dense vector of another width, or with missing values"), 2u);
  EXPECT_EQ(report_.notes.count("ids beyond values_max of tags"), 1u);
  EXPECT_EQ(report_.notes.count("missing ids in lists of tags"), 2u);
}

// Two [[events]]: a log and its conversions, which lack the item and order by text; equal times go
// by the config's order.
TEST_F(PrepareTest, SeveralEventsQueries) {
  Write("log.csv", "u,t,item,clk\na,10,x,1\na,20,y,0\n");
  Write("buys.csv", "who,when_ms,n\na,20,2\na,20,1\nb,5,1\n");
  config_.sources.resize(2);
  config_.sources[1].name = "buys";
  config_.sources[1].files = {"buys.csv"};
  config_.events.resize(2);
  config_.events[1].name = "buys";
  config_.events[1].from = "buys";
  config_.events[1].user = "who";
  config_.events[1].request_time_ms = "when_ms";
  config_.events[1].order = "n";
  config_.events[1].split = "'context'";
  config_.events[1].fields = {{"item", "NULL"}};
  config_.events[1].actions = {{"clk", "TRUE"}};
  config_.events[1].labels = {{"ctr", "NULL"}};
  const UserBlock block = PrepareOne(config_);
  EXPECT_EQ(block.user_offsets, (std::vector<uint32_t>{0, 4, 5}));
  EXPECT_EQ(block.events.fields[0].ids, Keys({"x", "y", "", "", ""}));
  EXPECT_EQ(block.events.actions, (std::vector<uint32_t>{1, 0, 1, 1, 1}));
  EXPECT_EQ(block.events.labels_known, (std::vector<uint32_t>{1, 1, 0, 0, 0}));
}

// Rows of an [[events]] without history keep their place and their label, in any split; the rows
// hash tells them from others.
TEST_F(PrepareTest, CandidatesOnlyAreNoHistory) {
  Write("log.csv", "u,t,item,clk\na,10,x,1\na,20,y,1\nb,5,x,1\n");
  config_.events.push_back(config_.events[0]);
  config_.events[1].name = "drawn";
  config_.events[1].fields = {{"item", "'other ' || item"}};
  config_.events[1].labels = {{"ctr", "FALSE"}};
  config_.events[1].split = "CASE WHEN u = 'b' THEN 'test' ELSE 'train' END";
  PrepareOne(config_);
  const std::string all_history = report_.rows_hash;
  config_.events[1].history = false;
  const UserBlock block = PrepareOne(config_);
  EXPECT_NE(report_.rows_hash, all_history);
  EXPECT_EQ(block.user_offsets, (std::vector<uint32_t>{0, 4, 6}));
  EXPECT_EQ(block.events.fields[0].ids, Keys({"x", "other x", "y", "other y", "x", "other x"}));
  EXPECT_EQ(block.events.history, (std::vector<uint8_t>{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(block.events.labels, (std::vector<uint32_t>{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(block.events.split, (std::vector<Split>{Split::kTrain, Split::kTrain, Split::kTrain,
                                                    Split::kTrain, Split::kTrain, Split::kTest}));
}

// 400 rows, of which item and click go together: after the permutation each column has what it had,
// item and click stand together as chance has it, and one seed gives one permutation.
TEST_F(PrepareTest, PermutesFeedbackAndNothingElse) {
  std::string log = "u,t,item,clk\n";
  for (int i = 0; i < 400; ++i) {
    absl::StrAppend(&log, "a,", i, ",", i % 2 == 0 ? "x" : "y", ",", i % 2, "\n");
  }
  Write("log.csv", log);
  config_.sources[0].feedback = {"clk"};
  const auto together = [](const UserBlock& block) {
    int count = 0;
    for (size_t i = 0; i < block.events.size(); ++i) {
      count += (block.events.fields[0].ids[i] == HashId("y")) == (block.events.labels[i] == 1);
    }
    return count;
  };
  const UserBlock plain = PrepareOne(config_);
  EXPECT_EQ(together(plain), 400);
  config_.prepare.permute_feedback = 1;
  const UserBlock permuted = PrepareOne(config_);
  const std::string hash = report_.rows_hash;
  EXPECT_EQ(permuted.events.request_time_ms, plain.events.request_time_ms);
  EXPECT_EQ(permuted.events.fields[0].ids, plain.events.fields[0].ids);
  EXPECT_EQ(permuted.events.labels, permuted.events.actions);  // both follow
  EXPECT_EQ(std::count(permuted.events.labels.begin(), permuted.events.labels.end(), 1u), 200);
  // Hypergeometric: 200 expected, standard deviation 10.
  EXPECT_NEAR(together(permuted), 200, 50);
  config_.prepare.threads = 1;
  PrepareOne(config_);
  EXPECT_EQ(report_.rows_hash, hash);
  config_.prepare.permute_feedback = 2;
  PrepareOne(config_);
  EXPECT_NE(report_.rows_hash, hash);
}

TEST_F(PrepareTest, PermutesNothingItDoesNotFind) {
  Write("log.csv", "u,t,item,clk\na,10,x,1\n");
  config_.prepare.permute_feedback = 1;
  EXPECT_THAT(std::string(PrepareStatus(config_).message()), HasSubstr("no [[source]] names"));
  config_.sources[0].feedback = {"click"};
  EXPECT_THAT(std::string(PrepareStatus(config_).message()), HasSubstr("no column 'click'"));
}

// Pages and sessions are distinct per user and per value, and equal within.
TEST_F(PrepareTest, PagesAndSessions) {
  Write("log.csv", "u,t,item,clk\na,10,p,1\na,11,q,1\na,12,p,1\na,13,,1\nb,10,p,1\n");
  config_.events[0].page = "item";
  const auto pages = PrepareOne(config_).events.page_id;
  ASSERT_THAT(pages, SizeIs(5));
  EXPECT_EQ(pages[0], pages[2]);
  EXPECT_NE(pages[0], pages[1]);
  EXPECT_NE(pages[0], pages[4]);
  EXPECT_EQ(pages[3], 0u);
}

TEST_F(PrepareTest, RepeatedEventIdsAreRejected) {
  Write("log.csv", "u,t,item,clk\na,10,p,1\na,11,q,1\na,12,p,1\na,13,,1\n");
  config_.events[0].event_id = "item";
  EXPECT_EQ(PrepareOne(config_).events.event_id, Keys({"p", "q"}));
  EXPECT_EQ(report_.rejects.count("event id repeated within a user"), 1u);
  EXPECT_EQ(report_.rejects.count("missing event id"), 1u);
}

TEST_F(PrepareTest, RefusesWhatItCannotDo) {
  Write("log.csv", "u,t,item,clk\na,10,x,1\n");
  const std::string out = dir_.File("existing");
  ASSERT_TRUE(MakeDirectories(out).ok());
  const Status exists = Prepare(config_, out, NoProgress()).status();
  EXPECT_EQ(exists.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(exists.message()), HasSubstr("remove it"));
  const std::pair<const char*, std::function<void(Config&)>> mistakes[] = {
      {"impressions", [](Config& c) { c.events[0].request_time_ms = "absent"; }},
      {"impressions",
       [](Config& c) {
         c.events[0].fields = {{"absent", "1"}};
       }},
      {"impressions", [](Config& c) { c.events[0].user = ""; }},
      {"should be a list", [](Config& c) { c.fields[0].kind = "ids"; }},
      {"should be a single value", [](Config& c) { c.fields[0].expr = "[1]"; }},
      {"grab_row", [](Config& c) { c.events[0].duplicate_key = "log.grab_row"; }},
      {"[[events]]", [](Config& c) { c.events.clear(); }},
      {"files is empty", [](Config& c) { c.sources[0].files.clear(); }},
      {"name TYPE", [](Config& c) { c.sources[0].columns = {"u"}; }},
      {"train_from", [](Config& c) { c.split.end = "2020-01-01T00:00:00Z"; }},
      {"no row became an event", [](Config& c) { c.events[0].where = "FALSE"; }},
  };
  for (const auto& [message, make] : mistakes) {
    Config config = config_;
    make(config);
    const Status status = PrepareStatus(config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  config_.sources[0].files = {"absent*.csv"};
  EXPECT_EQ(PrepareStatus(config_).code(), absl::StatusCode::kNotFound);
}

TEST_F(PrepareTest, LatinOneText) {
  Write("log.csv", "u,t,item,clk\na,10,caf\xe9,1\n");
  config_.sources[0].text_encoding = "latin-1";
  EXPECT_EQ(PrepareOne(config_).events.fields[0].ids, Keys({"caf\xc3\xa9"}));
}

}  // namespace
}  // namespace grab
