// The binaries as a user runs them: options and config file, what is wrong with them, a replay
// through the command line, the end by SIGTERM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "bench/serving/server_process.h"
#include "checkpoint/model_files.h"
#include "eval/score_split.h"
#include "support/base_temp_dir.h"
#include "support/cli_process.h"
#include "support/random_model.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

class ServerCommandTest : public ::testing::Test {
 protected:
  ServerCommandTest() : model_(testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1)) {
    EXPECT_TRUE(ExportModel(ViewOf(model_), 1, Precision::kF32, dir_.File("models")).ok());
  }
  CommandResult Serve(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), GRAB_SERVE_BINARY);
    return RunCommand(arguments);
  }

  TempDir dir_;
  Model model_;
};

TEST_F(ServerCommandTest, SaysWhatIsWrong) {
  const std::string models = dir_.File("models"), state = dir_.File("state");
  EXPECT_EQ(Serve({"--help"}).exit_code, 0);
  EXPECT_THAT(Serve({"--help"}).out, HasSubstr("--queue-wait-max-s"));
  const struct {
    std::vector<std::string> arguments;
    const char* named;
  } kCases[] = {
      {{}, "--model"},
      {{"--model", models}, "--state"},
      {{"--model", models, "--state", state, "--workers", "0"}, "--workers"},
      {{"--model", dir_.File("none"), "--state", state}, "none"},
      {{"--model", models, "--state", state, "--address", "somewhere"}, "somewhere"},
      {{"--model", models, "--state", state, "--address", "0.0.0.0"}, "--tokens"},
      {{"--model", models, "--state", state, "--tokens", dir_.File("none")}, "none"},
      {{"--model", models, "--state", state, "--tls-key", dir_.File("none")}, "none"},
      {{"--model", models, "--state", state, "--kafka-topic", "t"}, "--kafka-brokers"},
      {{"--model", models, "--state", state, "--item-field", "price"}, "item_field"},
      {{"--model", models, "--state", state, "--arm-b-fraction", "0.5"}, "--model-b"},
      {{"--model", models, "--state", state, "--no-such-option"}, "--no-such-option"},
  };
  for (const auto& wrong : kCases) {
    const CommandResult result = Serve(wrong.arguments);
    EXPECT_EQ(result.exit_code, 2) << wrong.named << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(wrong.named));
  }
}

TEST_F(ServerCommandTest, ReadsItsConfigAndReplaysALog) {
  const Schema& schema = model_.spec.tokens.schema;
  UserBlock block = testing::MakeBlock(schema, 5, 6, 40);
  for (Split& split : block.events.split) {
    if (split == Split::kTrain) split = Split::kTest;
  }
  ASSERT_TRUE(MakeDirectories(dir_.File("shards")).ok());
  const auto shards = testing::WriteShards(schema, {block}, dir_.File("shards"));
  Forward forward(model_, 1);
  ScoreTable scores = *ScoreSplit(
      *shards, model_.spec, EvalConfig(), {Split::kTest, false},
      [&](const Batch& batch) { return forward.Logits(batch); }, NoProgress());
  ASSERT_TRUE(WriteScores(dir_.File("right.csv"), scores).ok());
  scores.p[0] = scores.p[0] > 0.5f ? 0.1f : 0.9f;
  ASSERT_TRUE(WriteScores(dir_.File("wrong.csv"), scores).ok());
  ASSERT_TRUE(WriteFileDurably(
                  dir_.File("serve.toml"),
                  absl::StrCat("model = \"", dir_.File("models"), "\"\nstate = \"",
                               dir_.File("state"), "\"\nworkers = 2\nqueue-wait-max-s = 30.0\n"))
                  .ok());
  const auto server = bench::ServerProcess::Start(
      GRAB_SERVE_BINARY, {"--config", dir_.File("serve.toml")}, dir_.File("log"));
  ASSERT_TRUE(server.ok()) << server.status();
  const auto replay = [&](const char* compare) {
    return RunCommand({GRAB_CLIENT_BINARY, "replay", "--target", (*server)->grpc_target(),
                       "--model", dir_.File("models"), "--shards", dir_.File("shards"), "--out",
                       dir_.File("replay.csv"), "--compare", dir_.File(compare), "--diff-max",
                       "1e-5"});
  };
  const CommandResult right = replay("right.csv");
  EXPECT_EQ(right.exit_code, 0) << right.err;
  EXPECT_THAT(right.out, HasSubstr("targets ranked"));
  const CommandResult wrong = replay("wrong.csv");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("1e-05 is allowed"));
  const CommandResult load =
      RunCommand({GRAB_CLIENT_BINARY, "load", "--target", (*server)->grpc_target(), "--shards",
                  dir_.File("shards"), "--rates", "50,100", "--seconds", "0.5", "--warm-s", "0.1",
                  "--observes-per-s", "20", "--candidates", "8", "--out", dir_.File("load.json")});
  EXPECT_EQ(load.exit_code, 0) << load.err;
  EXPECT_THAT(ReadFile(dir_.File("load.json"), 1 << 20).value(), HasSubstr("\"p99_ms\""));
  EXPECT_TRUE((*server)->Stop().ok());
  EXPECT_THAT(ReadFile(dir_.File("log"), 1 << 20).value(), HasSubstr("\"event\":\"stopped\""));
}

}  // namespace
}  // namespace grab
