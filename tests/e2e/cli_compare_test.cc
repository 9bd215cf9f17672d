// `grab compare` with a trainer of our own making: which runs it makes, that a failed one does not
// take the others along, the comparison by hand, and what a search chooses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "support/fake_trainer.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class CompareTest : public JobTest {
 protected:
  // Without the run on permuted feedback, which cli_leak_checks_test is about.
  CommandResult Compare(std::vector<std::string> more) {
    InstallTrain();
    more.push_back("--without-permutation");
    return RunJob("compare", more);
  }
  nlohmann::json Comparison() {
    return nlohmann::json::parse(ReadFile(Out("comparison.json"), 1 << 20).value());
  }
};

// Differences of DLRM from GRAB: .61 - .711, .62 - .722, .63 - .733.
TEST_F(CompareTest, PairsSeedsAgainstTheReference) {
  const CommandResult done = Compare({"--models", "dlrm,grab", "--seeds", "1,2,3"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(TrainCalls().size(), 6u);
  EXPECT_THAT(done.out, AllOf(HasSubstr("dlrm"), HasSubstr("-0.10200")));
  const nlohmann::json json = Comparison();
  EXPECT_EQ(json["reference"], "grab");
  ASSERT_EQ(json["models"].size(), 2u);
  EXPECT_TRUE(json["failed"].empty());
  EXPECT_FALSE(json["models"][1].contains("auc_minus_reference"));
  const nlohmann::json& difference = json["models"][0]["auc_minus_reference"];
  EXPECT_NEAR(difference["mean"].get<double>(), -0.102, 1e-14);
  EXPECT_NEAR(difference["sd"].get<double>(), 0.001, 1e-14);
  // Two degrees of freedom: 1 - t / sqrt(2 + t^2), which cancels to about 1e-11.
  const double t = 0.102 / (0.001 / std::sqrt(3.0));
  EXPECT_NEAR(difference["p"].get<double>(), 1.0 - t / std::sqrt(2.0 + t * t), 1e-10);
  // Of DLRM's test AUC of .5 the users' influences are -1/4 and 1/4, of GRAB's 0: an sd of .5.
  EXPECT_NEAR(difference["users_95"].get<double>(), 1.96 * 0.5, 1e-14);
  EXPECT_EQ(json["rows_hash"].get<std::string>().size(), 16u);
  EXPECT_THAT(ReadFile(Out("comparison.md"), 1 << 20).value(), HasSubstr("| dlrm | 3 |"));
}

TEST_F(CompareTest, AFailedRunDoesNotLoseTheOthers) {
  setenv("TRAIN_FAILS", "din-2", 1);
  const CommandResult failed = Compare({"--models", "din,grab", "--seeds", "1,2,3"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, AllOf(HasSubstr("step 'train din, seed 2' failed with exit code 3"),
                                HasSubstr("--resume")));
  const nlohmann::json json = Comparison();
  EXPECT_EQ(json["models"][0]["seeds"], (std::vector<int>{1, 3}));
  EXPECT_EQ(json["models"][1]["seeds"], (std::vector<int>{1, 2, 3}));
  ASSERT_EQ(json["failed"].size(), 1u);
  EXPECT_EQ(json["failed"][0]["seed"], 2);
  EXPECT_EQ(TrainCalls().size(), 6u);

  unsetenv("TRAIN_FAILS");
  const CommandResult again = Compare({"--models", "din,grab", "--seeds", "1,2,3", "--resume"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(TrainCalls().size(), 7u);
  EXPECT_TRUE(Comparison()["failed"].empty());
}

// The fake trainer leaves no model: where the first run that ended looks cannot be told, and that
// costs a note. Without GRAB there is nothing to tell.
TEST_F(CompareTest, AttentionIsOfTheFirstGrabThatEndedAndNoError) {
  setenv("TRAIN_FAILS", "grab-1", 1);
  const CommandResult failed = Compare({"--models", "dlrm,grab", "--seeds", "1,2"});
  EXPECT_THAT(failed.out, HasSubstr("== attention: grab attention --model " + Out("grab-seed2")));
  EXPECT_THAT(failed.err, HasSubstr("step 'attention' failed"));
  unsetenv("TRAIN_FAILS");
  out_ = dir_.File("without");
  const CommandResult done = Compare({"--models", "dlrm", "--reference", "dlrm"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, Not(HasSubstr("attention")));
}

TEST_F(CompareTest, TrainsTheWholeZooUnlessTold) {
  ASSERT_EQ(Compare({}).exit_code, 0);
  EXPECT_EQ(TrainCalls().size(), 8u);
  const nlohmann::json models = Comparison()["models"];
  ASSERT_EQ(models.size(), 8u);
  EXPECT_EQ(models[7]["model"], "trees");
  EXPECT_THAT(TrainCalls(), Contains(HasSubstr("trees-seed1 --set trees.seed=1")));
}

// .61 to .63 and .711 to .733 by seed; of others that are equal the first is the best.
TEST_F(CompareTest, EvidenceListsTheFigures) {
  ASSERT_EQ(Compare({"--models", "dlrm,din,grab", "--seeds", "1,2,3"}).exit_code, 0);
  const CommandResult done = RunCommand(
      {dir_.File("bin/grab"), "evidence", "toy=" + out_, "--out", dir_.File("evidence.json")});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const nlohmann::json figures =
      nlohmann::json::parse(ReadFile(dir_.File("evidence.json"), 1 << 20).value());
  std::map<std::string, nlohmann::json> values;
  for (const nlohmann::json& figure : figures) values[figure["name"]] = figure["value"];
  EXPECT_EQ(values["toy_seeds"], 3);
  EXPECT_NEAR(values["toy_grab_auc"].get<double>(), 0.722, 1e-14);
  EXPECT_NEAR(values["toy_grab_minus_dlrm_auc"].get<double>(), 0.102, 1e-14);
  EXPECT_NEAR(values["toy_grab_minus_best_other_auc"].get<double>(), 0.102, 1e-14);
  EXPECT_EQ(values["toy_best_other"], "dlrm");
  EXPECT_LT(values["toy_p_value"].get<double>(), 0.001);
  EXPECT_NEAR(values["toy_grab_minus_best_other_users_95"].get<double>(), 1.96 * 0.5, 1e-14);
  EXPECT_EQ(values.count("toy_grab_streaming_auc"), 0u);

  const CommandResult missing = RunCommand({dir_.File("bin/grab"), "evidence", "toy=nowhere"});
  EXPECT_NE(missing.exit_code, 0);
  EXPECT_THAT(missing.err, HasSubstr("nowhere/comparison.json"));
  EXPECT_THAT(RunCommand({dir_.File("bin/grab"), "evidence", "toy"}).err,
              HasSubstr("expected NAME=DIR"));
}

// The fake trainer gives all variants, which are of one model, the same AUC.
TEST_F(CompareTest, AblateHoldsVariantsAgainstTheWhole) {
  InstallTrain();
  const CommandResult done = RunJob("ablate", {"--seeds", "1,2"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const nlohmann::json models = Comparison()["models"];
  ASSERT_GE(models.size(), 7u);
  EXPECT_EQ(models[0]["model"], "grab");
  std::set<std::string> names;
  for (const nlohmann::json& model : models) {
    names.insert(model["model"]);
    EXPECT_EQ(model["seeds"], (std::vector<int>{1, 2}));
    if (model["model"] != "grab") {
      EXPECT_EQ(model["auc_minus_reference"]["mean"], 0.0);
    }
  }
  EXPECT_EQ(names.size(), models.size());
  EXPECT_THAT(TrainCalls(), Contains(AllOf(HasSubstr("no_time_bias-seed2"),
                                           HasSubstr("--set grab.model.time_buckets=2"),
                                           HasSubstr("--set grab.train.seed=2"))));
  EXPECT_THAT(TrainCalls(), Contains(AllOf(HasSubstr("full_only-seed1"),
                                           HasSubstr("--set field.user_id.partial=yes"))));
}

// A complete run is skipped only if it was trained with the settings of now.
TEST_F(CompareTest, ARunOfOtherSettingsIsNotTakenForThisOne) {
  const std::vector<std::string> arguments = {"--models", "dlrm,grab", "--seeds", "1", "--resume"};
  ASSERT_EQ(Compare({"--models", "dlrm,grab", "--seeds", "1"}).exit_code, 0);
  std::string config = ReadFile(Out("config.toml"), 1 << 20).value();  // its seeds are 1
  ASSERT_TRUE(WriteFileDurably(Out("grab-seed1/config.toml"), config).ok());
  EXPECT_EQ(Compare(arguments).exit_code, 0);
  config = absl::StrReplaceAll(config, {{"time_buckets = 32", "time_buckets = 31"}});
  ASSERT_TRUE(WriteFileDurably(Out("grab-seed1/config.toml"), config).ok());
  const CommandResult refused = Compare(arguments);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("grab-seed1/config.toml:"), HasSubstr("'time_buckets"),
                                 HasSubstr("now 'time_buckets = 32'")));
  EXPECT_EQ(TrainCalls().size(), 2u);
  ASSERT_EQ(Comparison()["models"].size(), 1u);
  EXPECT_EQ(Comparison()["models"][0]["model"], "dlrm");
}

// The fake trainer's log-loss on validation is .5 and the learning rate: the least rate wins,
// though on test it is the worst. Which rates were tried stands in the calls.
TEST_F(CompareTest, SearchChoosesByTheValidationLogLoss) {
  constexpr size_t kTrials = 4;
  const std::vector<std::string> arguments = {"--models", "dlrm,grab,trees",      "--seeds", "5,6",
                                              "--search", std::to_string(kTrials)};
  const CommandResult done = Compare(arguments);
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const std::vector<std::string> calls = TrainCalls();
  ASSERT_EQ(calls.size(), 3 * (kTrials + 2));
  const nlohmann::json search =
      nlohmann::json::parse(ReadFile(Out("search.json"), 1 << 20).value());
  EXPECT_EQ(search["trials_per_model"], kTrials);
  ASSERT_EQ(search["models"].size(), 3u);
  for (size_t m = 0; m < 3; ++m) {
    const nlohmann::json& model = search["models"][m];
    SCOPED_TRACE(model["model"].get<std::string>());
    EXPECT_EQ(model["seed"], 5);
    ASSERT_EQ(model["trials"].size(), kTrials);
    EXPECT_TRUE(model["trials"][0]["settings"].empty());
    const std::string key = m == 2 ? "learning_rate=" : "dense_lr=";
    size_t best = 0;
    double best_rate = 1.0;
    for (size_t t = 0; t < kTrials; ++t) {
      const std::string& call = calls[m * kTrials + t];
      EXPECT_THAT(
          call,
          AllOf(HasSubstr(absl::StrCat("search/", std::string(model["model"]), "-trial", t, " ")),
                HasSubstr("seed=5")));
      const size_t at = call.find(key);
      EXPECT_EQ(at == std::string::npos, t == 0) << call;
      const double rate = t == 0 ? 0.002 : std::stod(call.substr(at + key.size()));
      EXPECT_NEAR(model["trials"][t]["valid_logloss"].get<double>(), 0.5 + rate, 1e-6);
      EXPECT_EQ(model["trials"][t]["valid_auc"], 0.625);
      if (rate < best_rate) {
        best = t;
        best_rate = rate;
      }
    }
    EXPECT_EQ(model["chosen"], best);
    // All seeds of the model are trained with what was chosen.
    for (const char* seed : {"5", "6"}) {
      std::string settings;
      for (const auto& setting : model["trials"][best]["settings"]) {
        absl::StrAppend(&settings, " --set ", setting.get<std::string>());
      }
      EXPECT_THAT(
          calls,
          Contains(AllOf(HasSubstr(absl::StrCat(std::string(model["model"]), "-seed", seed)),
                         HasSubstr(settings + " --set "), HasSubstr(absl::StrCat("seed=", seed)))));
    }
    EXPECT_THAT(ReadFile(Out("comparison.md"), 1 << 20).value(),
                HasSubstr(absl::StrCat("search: ", std::string(model["model"]), ": trial ", best)));
  }
  const std::string before = ReadFile(Out("search.json"), 1 << 20).value();
  std::vector<std::string> again = arguments;
  again.push_back("--resume");
  ASSERT_EQ(Compare(again).exit_code, 0);
  EXPECT_EQ(TrainCalls().size(), calls.size());
  EXPECT_EQ(ReadFile(Out("search.json"), 1 << 20).value(), before);
}

TEST_F(CompareTest, AFailedTrialIsNotChosen) {
  setenv("TRAIN_FAILS", "grab-trial0", 1);
  const std::vector<std::string> arguments = {"--models", "grab", "--search", "2"};
  const CommandResult done = Compare(arguments);
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const nlohmann::json search =
      nlohmann::json::parse(ReadFile(Out("search.json"), 1 << 20).value());
  EXPECT_EQ(search["models"][0]["chosen"], 1);
  EXPECT_THAT(search["models"][0]["trials"][0]["error"].get<std::string>(),
              HasSubstr("step 'train grab-trial0, seed 1' failed with exit code 3"));
  EXPECT_THAT(done.out, HasSubstr("of the config none, the run failed"));
}

TEST_F(CompareTest, ASearchOfWhichNothingEndsIsAnError) {
  setenv("TRAIN_FAILS", "grab-1", 1);
  const CommandResult failed = Compare({"--models", "grab", "--search", "2"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("search grab: none of 2 trials ended"));
  EXPECT_FALSE(Exists(Out("comparison.json")));
}

TEST_F(CompareTest, RefusesModelsItDoesNotKnow) {
  const CommandResult unknown = Compare({"--models", "grab,dinn"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("unknown model 'dinn', expected one of dlrm, din, "));
  EXPECT_EQ(Compare({"--models", "grab,grab"}).exit_code, 2);
  EXPECT_THAT(Compare({"--models", "dlrm"}).err, HasSubstr("'grab' is not among --models"));
  EXPECT_FALSE(Exists(out_));
}

}  // namespace
}  // namespace grab
