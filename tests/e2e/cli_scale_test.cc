// `grab scale` with a trainer of our own making: which runs it makes, the curve by hand, that a
// failed run loses no other, and what it refuses before it makes anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/fake_trainer.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class ScaleTest : public JobTest {
 protected:
  CommandResult Scale(const std::vector<std::string>& more) {
    InstallTrain();
    return RunJob("scale", more);
  }
  std::string Text(const std::string& name) { return ReadFile(Out(name), 1 << 20).value(); }
  nlohmann::json Json(const std::string& name) { return nlohmann::json::parse(Text(name)); }
};

// The fake AUC of DIN is .61 and .62 by seed, with the digits of the window behind: .618 and .628.
TEST_F(ScaleTest, HistoryOfTwoModels) {
  const CommandResult done =
      Scale({"--along", "history", "--models", "grab,din", "--values", "0,8,64", "--seeds", "1,2"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(TrainCalls().size(), 12u);
  EXPECT_THAT(TrainCalls(),
              Contains(AllOf(HasSubstr("--model din"), HasSubstr("din-history-64-seed2 "),
                             HasSubstr("--set din.model.channel.0.window_len=64"),
                             HasSubstr("--set din.model.search.recent=64"))));
  const nlohmann::json comparison = Json("comparison.json");
  EXPECT_EQ(comparison["reference"], "grab-history-64");
  EXPECT_EQ(comparison["models"].size(), 6u);

  const nlohmann::json scale = Json("scale.json");
  EXPECT_EQ(scale["along"], "history");
  ASSERT_EQ(scale["series"].size(), 2u);
  EXPECT_EQ(scale["series"][0]["model"], "grab");
  const nlohmann::json& din = scale["series"][1];
  EXPECT_EQ(din["model"], "din");
  ASSERT_EQ(din["points"].size(), 3u);
  EXPECT_NEAR(din["points"][0]["auc_mean"].get<double>(), (0.610 + 0.620) / 2, 1e-12);
  EXPECT_NEAR(din["points"][1]["auc_mean"].get<double>(), (0.618 + 0.628) / 2, 1e-12);
  EXPECT_NEAR(din["points"][2]["auc_mean"].get<double>(), (0.6164 + 0.6264) / 2, 1e-12);
  for (const nlohmann::json& point : din["points"]) {
    EXPECT_NEAR(point["auc_sd"].get<double>(), 0.01 / std::sqrt(2.0), 1e-12);
    EXPECT_EQ(point["seeds"], (std::vector<int>{1, 2}));
    EXPECT_EQ(point["wall_seconds"], 2.0);
  }
  EXPECT_EQ(din["points"][2]["value"], 64);
  EXPECT_THAT(Text("scale.svg"), AllOf(HasSubstr("<svg"), HasSubstr(">grab</text>"),
                                       HasSubstr(">din</text>"), HasSubstr(">64</text>")));
}

// The simulated targets of training are requested from 3 to 11 January.
TEST_F(ScaleTest, DataIsTheNewestShareOfTheTrainingTime) {
  const CommandResult done = Scale({"--along", "data", "--models", "grab", "--values", "0.5,1"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  ASSERT_EQ(TrainCalls().size(), 2u);
  EXPECT_THAT(TrainCalls()[0], AllOf(HasSubstr("grab-data-0.5-seed1"),
                                     HasSubstr("--set grab.train.from=2024-01-07T")));
  EXPECT_THAT(TrainCalls()[1],
              AllOf(HasSubstr("grab-data-1-seed1"), Not(HasSubstr("grab.train.from"))));
}

TEST_F(ScaleTest, AFailedRunDoesNotLoseTheOthers) {
  setenv("TRAIN_FAILS", "grab-width-32-seed1", 1);
  const std::vector<std::string> arguments = {"--along",   "width",    "--models",
                                              "dlrm,grab", "--values", "16,32"};
  const CommandResult failed = Scale(arguments);
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("step 'train grab-width-32, seed 1' failed with exit code 3"));
  EXPECT_EQ(TrainCalls().size(), 4u);
  EXPECT_EQ(Json("scale.json")["series"][1]["points"].size(), 1u);
  EXPECT_EQ(Json("comparison.json")["failed"].size(), 1u);

  unsetenv("TRAIN_FAILS");
  std::vector<std::string> again = arguments;
  again.push_back("--resume");
  ASSERT_EQ(RunJob("scale", again).exit_code, 0);
  EXPECT_EQ(TrainCalls().size(), 5u);
  EXPECT_EQ(Json("scale.json")["series"][1]["points"].size(), 2u);
}

TEST_F(ScaleTest, DefaultModelsAreThoseWithTheAxis) {
  ASSERT_EQ(Scale({"--along", "depth", "--values", "1"}).exit_code, 0);
  EXPECT_EQ(TrainCalls().size(), 2u);
  EXPECT_EQ(Json("comparison.json")["reference"], "grab-depth-1");
  EXPECT_EQ(Json("scale.json")["series"][1]["model"], "hstu");
}

TEST_F(ScaleTest, RefusesBeforeAnythingIsMade) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--along", "history", "--models", "grab,dlrm"}, "dlrm has no history to scale"},
      {{"--along", "data", "--models", "trees"}, "trees has no data to scale"},
      {{"--along", "depth", "--models", "din"}, "din has no depth to scale"},
      {{"--along", "width", "--values", "30"}, "grab.model.heads = 4 should divide 30"},
      {{"--along", "history", "--values", "8,0"}, "--values: expected numbers that ascend"},
      {{"--along", "history", "--values", "8,8"}, "--values: expected numbers that ascend"},
      {{"--along", "history", "--values", "2.5"}, "expected a whole number of 0 to 1048576"},
      {{"--along", "data", "--values", "2"}, "expected a number of 1e-06 to 1, got 2"},
      {{"--along", "colour"}, "expected history, width, depth or data, got 'colour'"},
  };
  InstallTrain();
  for (const auto& [arguments, message] : cases) {
    const CommandResult refused = RunJob("scale", arguments);
    EXPECT_EQ(refused.exit_code, 2) << message;
    EXPECT_THAT(refused.err, HasSubstr(message));
    EXPECT_FALSE(Exists(out_)) << message;
  }
}

}  // namespace
}  // namespace grab
