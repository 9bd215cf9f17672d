// The checks of `grab compare` with a trainer of our own making: which there are, and that a leak
// makes the command fail when all is written. That real training on permuted feedback is at chance
// is in cli_report_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/fake_trainer.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class LeakChecksTest : public JobTest {
 protected:
  CommandResult Compare(const std::vector<std::string>& more) {
    InstallTrain();
    return RunJob("compare", more);
  }
  nlohmann::json Comparison() {
    return nlohmann::json::parse(ReadFile(Out("comparison.json"), 1 << 20).value());
  }
  std::vector<std::string> Checks(bool ok) {
    std::vector<std::string> names;
    const nlohmann::json comparison = Comparison();
    for (const nlohmann::json& check : comparison["checks"]) {
      if (check["ok"].get<bool>() == ok) names.push_back(check["name"]);
    }
    return names;
  }
};

// DLRM has no history; the trees and the reference are trained once more.
TEST_F(LeakChecksTest, AllArePartOfTheComparison) {
  const CommandResult done = Compare({"--models", "dlrm,grab,trees", "--seeds", "3,4"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(Checks(true), ElementsAre("single fields", "history, grab", "permuted labels, grab",
                                        "permuted labels, trees"));
  EXPECT_THAT(Checks(false), ElementsAre());
  const std::vector<std::string> calls = TrainCalls();
  ASSERT_EQ(calls.size(), 2u + 6u);
  EXPECT_THAT(calls[0], AllOf(HasSubstr("permuted/grab-seed3"), HasSubstr("permuted/shards")));
  EXPECT_THAT(calls[1], HasSubstr("permuted/trees-seed3"));
  const nlohmann::json check = Comparison()["checks"][2];
  EXPECT_NEAR(check["value"].get<double>(), 0.005, 1e-12);
  // The fake trainer's test has 50 of 200.
  EXPECT_NEAR(check["bound"].get<double>(), 4.0 * std::sqrt(201.0 / (12.0 * 50.0 * 150.0)), 1e-12);
  EXPECT_THAT(done.out, HasSubstr("permuted labels, grab"));
  EXPECT_THAT(ReadFile(Out("comparison.md"), 1 << 20).value(), HasSubstr("| single fields | ok |"));
  // Feedback is permuted, and nothing else: the same targets.
  EXPECT_NE(ReadFile(Out("permuted/shards/manifest.json"), 1 << 20).value(),
            ReadFile(Out("shards/manifest.json"), 1 << 20).value());
}

TEST_F(LeakChecksTest, AModelThatReadsPermutedFeedbackFails) {
  setenv("PERMUTED_AUC", "0.75", 1);
  const CommandResult failed = Compare({"--models", "dlrm,grab"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("check 'permuted labels, grab' failed"));
  EXPECT_THAT(Checks(false), ElementsAre("permuted labels, grab"));
  EXPECT_EQ(Comparison()["models"].size(), 2u);
}

// A run that fails on permuted feedback has shown nothing.
TEST_F(LeakChecksTest, ARunThatFailsIsAFailedCheck) {
  setenv("TRAIN_FAILS", "grab-1", 1);
  const CommandResult failed = Compare({"--models", "dlrm,grab", "--seeds", "1,2"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(Checks(false), ElementsAre("permuted labels, grab"));
}

// What the SQL hides from the config's own check: the answer, and what is known later only.
TEST_F(LeakChecksTest, AFieldThatIsTheAnswerFails) {
  const CommandResult failed =
      Compare({"--models", "dlrm,grab", "--without-permutation", "--set",
               "field.hour.expr=(SELECT max(CAST(i.clicked AS INTEGER)) FROM impressions AS i "
               "WHERE i.event_id = e.event_id)"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, AllOf(HasSubstr("check 'single fields' failed"), HasSubstr("'hour'")));
  EXPECT_TRUE(Exists(Out("comparison.json")));
}

TEST_F(LeakChecksTest, TheAnswerItselfIsAnErrorOfTheConfig) {
  const CommandResult refused =
      Compare({"--models", "dlrm,grab", "--set", "field.hour.expr=e.clicked"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("'hour' is the"), HasSubstr("it would leak")));
  EXPECT_FALSE(Exists(out_));
}

TEST_F(LeakChecksTest, WithoutFeedbackColumnsItSaysSoAtOnce) {
  const std::vector<std::string> none = {"--models", "dlrm,grab", "--set",
                                         "source.impressions.feedback=[]"};
  const CommandResult refused = Compare(none);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("feedback"), HasSubstr("--without-permutation")));
  EXPECT_FALSE(Exists(out_));
  std::vector<std::string> without = none;
  without.push_back("--without-permutation");
  EXPECT_EQ(Compare(without).exit_code, 0);
  EXPECT_THAT(Checks(true), ElementsAre("single fields", "history, grab"));
}

}  // namespace
}  // namespace grab
