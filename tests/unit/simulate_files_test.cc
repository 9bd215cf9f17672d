// What `Simulate` leaves on disk, and TrueAuc. Worlds of 30 to 200 users: large enough for several
// chunks, small enough for a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/duckdb.h"
#include "data/simulator.h"
#include "data/world_ads.h"
#include "data/world_user.h"

namespace grab {
namespace {

using testing::HasSubstr;

class SimulateFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = JoinPath(testing::TempDir(), absl::StrCat("simulate_", info->name()));
    ASSERT_TRUE(RemoveAll(root_).ok());
    ASSERT_TRUE(MakeDirectories(root_).ok());
    auto db = DuckDb::Open({});
    ASSERT_TRUE(db.ok()) << db.status();
    db_ = *std::move(db);
  }
  void TearDown() override { EXPECT_TRUE(RemoveAll(root_).ok()); }

  std::string Dir(const std::string& name) const { return JoinPath(root_, name); }
  std::string Make(const std::string& name, const SimulateConfig& config) {
    const Status status = Simulate(config, Dir(name), NoProgress());
    EXPECT_TRUE(status.ok()) << status;
    return Dir(name);
  }
  int64_t Count(const std::string& sql) {
    const auto count = db_->QueryInt64(sql);
    EXPECT_TRUE(count.ok()) << count.status();
    return count.value_or(-1);
  }
  static std::string Files(const std::string& dir, const std::string& glob) {
    return absl::StrCat("read_parquet(", SqlString(JoinPath(dir, glob)), ")");
  }
  // Rows of `a` that `b` has not, duplicates counted.
  int64_t Missing(const std::string& a, const std::string& b) {
    return Count(absl::StrCat("SELECT count(*) FROM (", a, " EXCEPT ALL ", b, ")"));
  }
  void Copy(const std::string& select, const std::string& path) {
    const Status status =
        db_->Execute(absl::StrCat("COPY (", select, ") TO ", SqlString(path), " (FORMAT parquet)"));
    ASSERT_TRUE(status.ok()) << status;
  }
  // A world folder with the given rows (event_id, request_time_ms, clicked) and (event_id,
  // click_probability).
  std::string HandMade(const std::string& impressions, const std::string& truth) {
    const std::string dir = Dir("hand");
    EXPECT_TRUE(MakeDirectories(JoinPath(dir, "impressions")).ok());
    EXPECT_TRUE(MakeDirectories(JoinPath(dir, "truth")).ok());
    EXPECT_TRUE(WriteFileDurably(JoinPath(dir, "world.json"), "{}").ok());
    Copy(absl::StrCat("SELECT * FROM (VALUES ", impressions,
                      ") AS t(event_id, request_time_ms, clicked)"),
         JoinPath(dir, "impressions/part-00000.parquet"));
    Copy(absl::StrCat("SELECT * FROM (VALUES ", truth, ") AS t(event_id, click_probability)"),
         JoinPath(dir, "truth/part-00000.parquet"));
    return dir;
  }

  std::string root_;
  std::unique_ptr<DuckDb> db_;
};

SimulateConfig SmallWorld() {
  SimulateConfig config;
  config.seed = 11;
  config.users = 100;
  return config;
}

std::map<std::string, std::string> Contents(const std::string& dir) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    auto content = ReadFile(entry.path().string(), 1 << 28);
    EXPECT_TRUE(content.ok()) << content.status();
    contents[std::filesystem::relative(entry.path(), dir).string()] = std::move(*content);
  }
  return contents;
}

TEST_F(SimulateFiles, SameSeedSameBytesOtherSeedOtherRows) {
  SimulateConfig config = SmallWorld();
  const auto first = Contents(Make("a", config));
  const auto second = Contents(Make("b", config));
  ASSERT_EQ(first.size(), 6u) << "ads, world.json and one chunk of four tables";
  EXPECT_TRUE(first == second);
  config.seed = 12;
  const std::string other = Make("c", config);
  const std::string columns = "SELECT user_id, ad_id, request_time_ms, clicked FROM ";
  const std::string rows = absl::StrCat(columns, Files(Dir("a"), "impressions/*.parquet"));
  const std::string other_rows = absl::StrCat(columns, Files(other, "impressions/*.parquet"));
  EXPECT_EQ(Missing(rows, other_rows), Count(absl::StrCat("SELECT count(*) FROM (", rows, ")")));
}

TEST_F(SimulateFiles, AUsersRowsDoNotDependOnTheNumberOfUsersOrTheChunks) {
  SimulateConfig config = SmallWorld();
  const std::string many = Make("many", config);
  config.users = 30;
  config.chunk_rows = 500;
  const std::string few = Make("few", config);
  const std::vector<std::string> tables = {"impressions", "conversions", "users"};
  for (const std::string& table : tables) {
    SCOPED_TRACE(table);
    const std::string glob = absl::StrCat(table, "/*.parquet");
    const std::string a = absl::StrCat("SELECT * FROM ", Files(few, glob));
    const std::string b = absl::StrCat("SELECT * FROM ", Files(many, glob), " WHERE user_id < 30");
    EXPECT_GT(Count(absl::StrCat("SELECT count(*) FROM (", a, ")")), 0);
    EXPECT_EQ(Missing(a, b), 0);
    EXPECT_EQ(Missing(b, a), 0);
  }
  const std::string ads_few = absl::StrCat("SELECT * FROM ", Files(few, "ads.parquet"));
  const std::string ads_many = absl::StrCat("SELECT * FROM ", Files(many, "ads.parquet"));
  EXPECT_EQ(Missing(ads_few, ads_many) + Missing(ads_many, ads_few), 0);
}

TEST_F(SimulateFiles, ChunksAreBounded) {
  SimulateConfig config = SmallWorld();
  config.users = 200;
  config.chunk_rows = 700;
  const std::string dir = Make("chunks", config);
  const auto parts = ListDirectory(JoinPath(dir, "impressions"));
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_GT(parts->size(), 10u);
  for (const std::string& part : *parts) {
    const int64_t rows = Count(
        absl::StrCat("SELECT count(*) FROM ", Files(dir, absl::StrCat("impressions/", part))));
    EXPECT_LE(rows, config.chunk_rows + kPageAdsMax) << part;
  }
  for (const char* table : {"conversions", "truth", "users"}) {
    EXPECT_EQ(ListDirectory(JoinPath(dir, table)).value(), *parts) << table;
  }
}

TEST_F(SimulateFiles, FilesAgreeWithEachOtherAndWithWorldJson) {
  const SimulateConfig config = SmallWorld();
  const std::string dir = Make("world", config);
  const auto text = ReadFile(JoinPath(dir, "world.json"), 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  ASSERT_TRUE(json.is_object());
  const std::string impressions = Files(dir, "impressions/*.parquet");
  const std::string conversions = Files(dir, "conversions/*.parquet");
  const std::string truth = Files(dir, "truth/*.parquet");
  const std::string users = Files(dir, "users/*.parquet");
  const std::string ads = Files(dir, "ads.parquet");
  const auto rows = [&](const std::string& from) {
    return Count(absl::StrCat("SELECT count(*) FROM ", from));
  };
  EXPECT_EQ(json["settings"]["seed"], config.seed);
  EXPECT_EQ(json["counts"]["users"], rows(users));
  EXPECT_EQ(json["counts"]["ads"], rows(ads));
  EXPECT_EQ(json["counts"]["impressions"], rows(impressions));
  EXPECT_EQ(json["counts"]["clicks"], rows(absl::StrCat(impressions, " WHERE clicked")));
  EXPECT_EQ(json["counts"]["conversions"], rows(conversions));
  EXPECT_EQ(json["counts"]["pages"],
            Count(absl::StrCat("SELECT count(DISTINCT page_id) FROM ", impressions)));
  EXPECT_EQ(json["counts"]["users_active"],
            Count(absl::StrCat("SELECT count(DISTINCT user_id) FROM ", impressions)));
  const int64_t n = rows(impressions);
  EXPECT_EQ(rows(absl::StrCat(impressions, " JOIN ", truth, " USING (event_id)")), n);
  EXPECT_EQ(rows(absl::StrCat(impressions, " JOIN ", users, " USING (user_id)")), n);
  EXPECT_EQ(rows(absl::StrCat(impressions, " JOIN ", ads,
                              " USING (ad_id) WHERE request_time_ms >= born_ms AND "
                              "request_time_ms < dies_ms")),
            n);
  EXPECT_EQ(rows(absl::StrCat(conversions, " c JOIN ", impressions,
                              " i ON c.impression_event_id = i.event_id WHERE i.clicked AND "
                              "c.time_ms > i.known_time_ms AND c.time_ms < ",
                              kWorldStartMs + 14 * kDayMs)),
            rows(conversions));
  EXPECT_EQ(rows(absl::StrCat(ads,
                              " WHERE len(creative) <> 8 OR len(topics) <> 2 OR "
                              "len(tags) <> len(tag_weights) OR topic <> topics[1]")),
            0);
}

TEST_F(SimulateFiles, AWorldWithoutImpressionsStillHasReadableFiles) {
  SimulateConfig config;
  config.users = 1;
  config.days = 0.1;
  config.sessions_per_day = 0.001;
  const std::string dir = Make("empty", config);
  EXPECT_EQ(Count(absl::StrCat("SELECT count(*) FROM ", Files(dir, "impressions/*.parquet"))), 0);
  EXPECT_EQ(Count(absl::StrCat("SELECT count(*) FROM ", Files(dir, "users/*.parquet"))), 1);
  EXPECT_EQ(TrueAuc(dir, 0, INT64_MAX).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SimulateFiles, AnExistingFolderIsRefusedAndALeftoverIsReplaced) {
  SimulateConfig config = SmallWorld();
  config.users = 3;
  ASSERT_TRUE(MakeDirectories(Dir("there.tmp/impressions")).ok());
  ASSERT_TRUE(WriteFileDurably(Dir("there.tmp/impressions/part-00009.parquet"), "torn").ok());
  const std::string dir = Make("there", config);
  EXPECT_FALSE(Exists(JoinPath(dir, "impressions/part-00009.parquet")));
  EXPECT_FALSE(Exists(Dir("there.tmp")));
  const Status again = Simulate(config, dir, NoProgress());
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.message()), HasSubstr(dir));
}

TEST_F(SimulateFiles, SettingsOutOfRangeAreRefusedByName) {
  struct Case {
    const char* name;
    void (*change)(SimulateConfig&);
  };
  const Case cases[] = {
      {"seed", [](SimulateConfig& c) { c.seed = -1; }},
      {"users", [](SimulateConfig& c) { c.users = 0; }},
      {"users", [](SimulateConfig& c) { c.users = 2000000000; }},
      {"days", [](SimulateConfig& c) { c.days = 0.0; }},
      {"days", [](SimulateConfig& c) { c.days = std::nan(""); }},
      {"ads_per_day", [](SimulateConfig& c) { c.ads_per_day = 1e6; }},
      {"sessions_per_day", [](SimulateConfig& c) { c.sessions_per_day = -0.5; }},
      {"chunk_rows", [](SimulateConfig& c) { c.chunk_rows = 0; }},
      {"ads_per_day * simulate.days",
       [](SimulateConfig& c) {
         c.ads_per_day = 5000;
         c.days = 3650;
       }},
  };
  for (const Case& one : cases) {
    SimulateConfig config = SmallWorld();
    one.change(config);
    const Status status = Simulate(config, Dir("bad"), NoProgress());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.name));
    EXPECT_FALSE(Exists(Dir("bad")));
    EXPECT_FALSE(Exists(Dir("bad.tmp")));
  }
}

TEST_F(SimulateFiles, TrueAucOfAHandMadeWorld) {
  // In [100, 200): clicked .2 .5 .5, not clicked .1 .2 .7. Pairs won: .2 beats .1 and ties .2
  // (1.5), each .5 beats .1 and .2 (2 + 2): 5.5 of 9. Rows 7 and 8, at 99 and 200, are outside and
  // would change it.
  const std::string dir = HandMade(
      "(1, 100, false), (2, 150, true), (3, 150, false), (4, 199, true), (5, 160, true), "
      "(6, 170, false), (7, 99, true), (8, 200, false)",
      "(8, 0.9), (1, 0.1), (2, 0.2), (3, 0.2), (4, 0.5), (5, 0.5), (6, 0.7), (7, 0.05)");
  const auto auc = TrueAuc(dir, 100, 200);
  ASSERT_TRUE(auc.ok()) << auc.status();
  EXPECT_DOUBLE_EQ(*auc, 5.5 / 9.0);
  const auto one_class = TrueAuc(dir, 100, 101);
  EXPECT_EQ(one_class.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(one_class.status().message()), HasSubstr(dir));
}

TEST_F(SimulateFiles, TrueAucNeedsAProbabilityForEveryRow) {
  const std::string dir =
      HandMade("(1, 100, false), (2, 150, true), (3, 160, true)", "(1, 0.1), (3, 0.2), (4, 0.2)");
  EXPECT_EQ(TrueAuc(dir, 0, 1000).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(TrueAuc(dir, 0, 101).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_F(SimulateFiles, TrueAucOfAMissingFolderNamesIt) {
  const auto auc = TrueAuc(Dir("nowhere"), 0, 1);
  EXPECT_EQ(auc.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(auc.status().message()), HasSubstr("nowhere"));
}

TEST_F(SimulateFiles, TrueAucEqualsAllPairs) {
  SimulateConfig config = SmallWorld();
  config.users = 30;
  const std::string dir = Make("pairs", config);
  auto query = db_->Query(absl::StrCat("SELECT click_probability, clicked FROM ",
                                       Files(dir, "impressions/*.parquet"), " JOIN ",
                                       Files(dir, "truth/*.parquet"), " USING (event_id)"));
  ASSERT_TRUE(query.ok()) << query.status();
  std::vector<double> clicked, unclicked;
  while (true) {
    const auto more = (*query)->Next();
    ASSERT_TRUE(more.ok()) << more.status();
    if (!*more) break;
    for (uint64_t row = 0; row < (*query)->rows(); ++row) {
      const bool is_click = (*query)->column(1).Get<bool>(row);
      (is_click ? clicked : unclicked).push_back((*query)->column(0).Get<double>(row));
    }
  }
  double won = 0.0;
  for (const double p : clicked) {
    for (const double n : unclicked) won += p > n ? 1.0 : p == n ? 0.5 : 0.0;
  }
  const auto auc = TrueAuc(dir, 0, INT64_MAX);
  ASSERT_TRUE(auc.ok()) << auc.status();
  // Both are ratios of sums that are exact in double (halves of integers below 2^53).
  EXPECT_DOUBLE_EQ(
      *auc, won / (static_cast<double>(clicked.size()) * static_cast<double>(unclicked.size())));
}

}  // namespace
}  // namespace grab
