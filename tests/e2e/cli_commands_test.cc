// The binary: exit codes, what it says, and the small commands on a small world. `grab run` has a
// test of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "config/config.h"
#include "data/shard.h"
#include "eval/scores.h"
#include "support/cli_process.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

const std::string kSimulator = JoinPath(GRAB_SOURCE_DIR, "configs/simulator.toml");

// One line, so that a log collector keeps it whole.
void ExpectError(const CommandResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_THAT(result.err, AllOf(StartsWith("grab: error: "), HasSubstr(part), EndsWith("\n")));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST(Grab, HelpExitsWithZeroAndHasExamples) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"run", "--help"},
                                             {"simulate", "--help"},
                                             {"prepare", "--help"},
                                             {"inspect", "--help"},
                                             {"eval", "--help"},
                                             {"attention", "--help"},
                                             {"config", "--help"}}) {
    const CommandResult result = Grab(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments[0];
    EXPECT_THAT(result.out, AllOf(HasSubstr("Usage: grab"), HasSubstr("Examples:\n  grab ")));
    EXPECT_EQ(result.err, "");
  }
}

TEST(Grab, WrongCommandLinesExitWithTwo) {
  ExpectError(Grab({}), 2, "subcommand is required");
  ExpectError(Grab({"prepar"}), 2, "did you mean 'prepare'?");
  ExpectError(Grab({"prepare"}), 2, "--config is required");
  ExpectError(Grab({"inspect"}), 2, "required");
  ExpectError(Grab({"inspect", "a", "--bogus"}), 2, "--bogus");
  ExpectError(Grab({"config"}), 2, "subcommand is required");
  ExpectError(Grab({"run", "--config", "x", "--out", "y", "--seeds", "1,x"}), 2, "--seeds");
}

TEST(Grab, WrongConfigsExitWithTwo) {
  ExpectError(Grab({"config", "check", "--config", "no/such.toml"}), 2, "no/such.toml");
  ExpectError(Grab({"config", "check", "--config", kSimulator, "--set", "grab.model.layer=2"}), 2,
              "--set grab.model.layer: unknown key; did you mean 'grab.model.layers'?");
  const TempDir dir;
  const std::string path = dir.File("bad.toml");
  ASSERT_TRUE(WriteFileDurably(path, "name = \"x\"\n[prepare]\nshards = 0\n").ok());
  for (const char* command : {"simulate", "prepare", "run"}) {
    ExpectError(Grab({command, "--config", path, "--out", dir.File("out")}), 2,
                path + ":3:10: prepare.shards: expected whole number, 1 to 4096");
    EXPECT_FALSE(Exists(dir.File("out"))) << command;
  }
}

TEST(Grab, WrongInputsExitWithTwo) {
  const TempDir dir;
  ExpectError(Grab({"inspect", dir.File("nothing")}), 2, dir.File("nothing"));
  ExpectError(Grab({"eval", "--scores", dir.File("nothing.csv")}), 2, "nothing.csv");
  ExpectError(
      Grab({"prepare", "--config", kSimulator, "--data", dir.path(), "--out", dir.File("shards")}),
      2, "impressions");
}

// A file that is torn is not the user's doing.
TEST(Grab, TornFilesExitWithOne) {
  const TempDir dir;
  ASSERT_TRUE(WriteFileDurably(dir.File("torn.grab"), "GRAB").ok());
  ExpectError(Grab({"inspect", dir.File("torn.grab")}), 1, "torn.grab");
}

TEST(Config, CheckDumpAndDocs) {
  EXPECT_THAT(Grab({"config", "check", "--config", kSimulator}).out, HasSubstr("good"));
  const CommandResult dump = Grab(
      {"config", "dump", "--config", kSimulator, "--set", "grab.train.seed=77", "--data", "d"});
  ASSERT_EQ(dump.exit_code, 0) << dump.err;
  const StatusOr<Config> config = ParseConfig(dump.out, "dump", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->grab.train.seed, 77);
  EXPECT_EQ(config->data_dir, "d");
  const CommandResult docs = Grab({"config", "docs"});
  EXPECT_EQ(docs.out, ConfigDocs());
}

// simulate, prepare and inspect on a world of a few users.
TEST(Grab, SmallWorldEndToEnd) {
  const TempDir dir;
  const std::string raw = dir.File("raw"), shards = dir.File("shards");
  const CommandResult simulate =
      Grab({"simulate", "--config", kSimulator, "--out", raw, "--set", "simulate.users=20"});
  ASSERT_EQ(simulate.exit_code, 0) << simulate.err;
  ExpectError(Grab({"simulate", "--config", kSimulator, "--out", raw}), 2, "exists");

  const CommandResult prepare = Grab({"prepare", "--config", kSimulator, "--data", raw, "--out",
                                      shards, "--set", "prepare.shards=2"});
  ASSERT_EQ(prepare.exit_code, 0) << prepare.err;
  EXPECT_THAT(prepare.out, AllOf(HasSubstr("targets: train "), HasSubstr("rows hash ")));
  // The settings that were in force, not those of the file.
  const StatusOr<Config> saved = LoadConfig(JoinPath(shards, "config.toml"), {});
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(saved->data_dir, raw);
  EXPECT_EQ(saved->prepare.shards, 2);

  // The summary agrees with the shards as the library reads them.
  const StatusOr<std::unique_ptr<ShardSet>> set = ShardSet::Open(shards);
  ASSERT_TRUE(set.ok()) << set.status();
  uint64_t users = 0, events = 0;
  std::string user;
  for (const ShardSet::BlockRef& ref : (*set)->blocks()) {
    users += (*set)->info(ref).users;
    events += (*set)->info(ref).events;
    if (user.empty()) user = (*set)->Read(ref)->user_id[0];
  }
  const CommandResult summary = Grab({"inspect", shards});
  ASSERT_EQ(summary.exit_code, 0) << summary.err;
  EXPECT_THAT(summary.out, AllOf(HasSubstr(absl::StrCat(users, " users, ", events, " events")),
                                 HasSubstr((*set)->rows_hash()), HasSubstr("2 shards")));
  const CommandResult one = Grab({"inspect", JoinPath(shards, "shard-0000.grab")});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("1 shards"));

  const CommandResult timeline = Grab({"inspect", shards, "--user", user});
  ASSERT_EQ(timeline.exit_code, 0) << timeline.err;
  EXPECT_THAT(timeline.out,
              AllOf(StartsWith("request "), HasSubstr("ad_id"), HasSubstr("2024-01-")));
  ExpectError(Grab({"inspect", shards, "--user", "nobody"}), 2, "no user 'nobody'");
}

// A row of the test split whose first task has a label; as much history as there are rows before.
void AddRow(uint64_t user, int64_t time_ms, uint32_t label, const std::vector<float>& p,
            ScoreTable& table) {
  table.history_len.push_back(static_cast<uint32_t>(table.rows()));
  table.event_id.push_back(table.rows() + 1);
  table.user_key.push_back(user);
  table.page_id.push_back(0);
  table.request_time_ms.push_back(time_ms);
  table.split.push_back(Split::kTest);
  table.labels.push_back(label);
  table.labels_known.push_back(1);
  table.p.insert(table.p.end(), p.begin(), p.end());
}

// Four rows: positives at .9 and .4, negatives at .5 and .1, so that 3 of 4 pairs are in order.
TEST(Eval, PrintsAndWritesMetrics) {
  const TempDir dir;
  ScoreTable table;
  table.tasks = {"click"};
  const float p[] = {0.9f, 0.5f, 0.4f, 0.1f};
  const uint32_t label[] = {1, 0, 1, 0};
  for (size_t i = 0; i < 4; ++i) AddRow(7, 1000, label[i], {p[i]}, table);
  const std::string scores = dir.File("scores.csv"), json_path = dir.File("m.json");
  ASSERT_TRUE(WriteScores(scores, table).ok());
  const CommandResult result = Grab(
      {"eval", "--scores", scores, scores, "--json", json_path, "--set", "eval.history_edges=[1]"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("0.75"));
  const auto json = nlohmann::json::parse(ReadFile(json_path, 1 << 20).value(), nullptr, false);
  ASSERT_EQ(json["files"].size(), 2u);
  EXPECT_EQ(json["files"][1]["file"], scores);
  EXPECT_EQ(json["files"][0]["tasks"][0]["auc"], 0.75);
  EXPECT_EQ(json["files"][0]["tasks"][0]["fields"][0]["slices"].size(), 2u);
  EXPECT_FALSE(json.contains("mean"));

  // Each has a negative at .5, but not the same one: their mean logits have both below .4.
  std::swap(table.p[1], table.p[3]);
  const std::string other = dir.File("other.csv");
  ASSERT_TRUE(WriteScores(other, table).ok());
  const CommandResult mean =
      Grab({"eval", "--mean", "--scores", scores, other, "--json", json_path});
  ASSERT_EQ(mean.exit_code, 0) << mean.err;
  EXPECT_THAT(mean.out, HasSubstr("mean of the logits of 2 files"));
  const auto both = nlohmann::json::parse(ReadFile(json_path, 1 << 20).value(), nullptr, false);
  EXPECT_EQ(both["files"][1]["tasks"][0]["auc"], 0.75);
  EXPECT_EQ(both["mean"]["tasks"][0]["auc"], 1.0);
}

// One user clicks, the other does not. With the first labels known, the second rows are in order:
// of four pairs one tie and none before, three and the tie then; in hindsight all four.
TEST(Eval, TellsWhatLevelsAreWorth) {
  const TempDir dir;
  ScoreTable table;
  table.tasks = {"click", "buy"};
  const float p[] = {0.5f, 0.5f, 0.45f, 0.55f};
  for (int i = 0; i < 4; ++i) AddRow(1 + i % 2, i / 2, i % 2 == 0 ? 1 : 0, {p[i], 0.5f}, table);
  const std::string scores = dir.File("scores.csv"), json_path = dir.File("m.json");
  ASSERT_TRUE(WriteScores(scores, table).ok());
  const CommandResult result = Grab({"eval", "--levels", "--scores", scores, "--json", json_path});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("levels of buy: no labels of both classes"));
  const auto json = nlohmann::json::parse(ReadFile(json_path, 1 << 20).value(), nullptr, false);
  const auto& levels = json["files"][0]["levels"];
  ASSERT_EQ(levels.size(), 1u);
  EXPECT_EQ(levels[0]["auc"], 0.125);
  EXPECT_EQ(levels[0]["keys"][0]["values"], 2);
  EXPECT_EQ(levels[0]["keys"][0]["before"], 0.75);
  EXPECT_EQ(levels[0]["together"]["hindsight"], 0.875);
}

}  // namespace
}  // namespace grab
