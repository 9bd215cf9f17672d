// The space of `grab compare --search`: what is drawn lies in it and is a config that can be
// trained, everything in it is drawn, and models of one space try the same changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "cli/search_space.h"
#include "config/config.h"

namespace grab {
namespace {

constexpr char kConfig[] = GRAB_SOURCE_DIR "/configs/simulator.toml";
constexpr int64_t kTrials = 300;

std::vector<Variant> AllModels() {
  std::vector<Variant> models = {ParseVariant("trees").value()};
  for (const ModelKind kind : kModelKinds) models.push_back(VariantOf(kind));
  return models;
}

Config Load(const std::vector<std::string>& settings) {
  const StatusOr<Config> config = LoadConfig(kConfig, settings);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

TEST(SearchSpace, TrialsAreConfigsAndTheFirstIsTheConfigAsItIs) {
  const Config config = Load({});
  for (const Variant& model : AllModels()) {
    EXPECT_TRUE(TrialSettings(config, model, 0).empty());
    std::set<std::vector<std::string>> seen;
    for (int64_t trial = 1; trial < 30; ++trial) {
      const std::vector<std::string> settings = TrialSettings(config, model, trial);
      EXPECT_EQ(settings.size(), SearchSpace(config, model).size());
      EXPECT_EQ(TrialSettings(config, model, trial), settings);
      Load(settings);
      seen.insert(settings);
    }
    EXPECT_GT(seen.size(), 25u) << model.name;  // the learning rates alone tell trials apart
  }
}

// Between a third and three times the config, and both halves of it on the logarithmic scale.
TEST(SearchSpace, LearningRatesAreLogUniformAroundTheConfig) {
  const Config config = Load({});
  int below = 0;
  double least = 10.0, most = 0.0;
  for (int64_t trial = 1; trial <= kTrials; ++trial) {
    const Config drawn = Load(TrialSettings(config, VariantOf(ModelKind::kGrab), trial));
    const double factor = drawn.grab.train.dense_lr / config.grab.train.dense_lr;
    below += factor < 1.0 ? 1 : 0;
    least = std::min(least, factor);
    most = std::max(most, factor);
  }
  // Three digits are kept. Of 300 fair draws 150 +- 9 are below: five deviations.
  EXPECT_GE(least, 0.995 / 3);
  EXPECT_LT(least, 0.37);
  EXPECT_LE(most, 3.0 * 1.005);
  EXPECT_GT(most, 2.7);
  EXPECT_NEAR(below, kTrials / 2, 45);
}

TEST(SearchSpace, EveryChoiceIsDrawn) {
  const Config config = Load({});
  std::map<int64_t, int> batches, dlrm_batches, passes, depths;
  std::map<double, int> dropouts;
  for (int64_t trial = 1; trial <= kTrials; ++trial) {
    const Config grab = Load(TrialSettings(config, VariantOf(ModelKind::kGrab), trial));
    ++batches[grab.grab.train.batch_tokens];
    ++passes[grab.grab.train.passes];
    ++dropouts[grab.grab.train.id_dropout];
    const Config dlrm = Load(TrialSettings(config, VariantOf(ModelKind::kDlrm), trial));
    ++dlrm_batches[dlrm.dlrm.train.batch_tokens];
    const Config trees = Load(TrialSettings(config, ParseVariant("trees").value(), trial));
    ++depths[trees.trees.depth_max];
  }
  const auto keys = [](const auto& counts) {
    std::vector<double> drawn;
    for (const auto& [key, count] : counts) {
      drawn.push_back(static_cast<double>(key));
      EXPECT_GT(count, 30) << key;  // 60 or more are expected
    }
    return drawn;
  };
  EXPECT_THAT(keys(batches), testing::ElementsAre(1024, 2048, 4096));
  EXPECT_THAT(keys(dlrm_batches), testing::ElementsAre(256, 512, 1024, 2048));
  EXPECT_THAT(keys(passes), testing::ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(keys(dropouts), testing::ElementsAre(0, 0.1, 0.2, 0.3));
  EXPECT_THAT(keys(depths), testing::ElementsAre(4, 5, 6, 7, 8));
}

// The configs of DIN and GRAB are equal here, so the settings must be, but for the model's name.
TEST(SearchSpace, ModelsWithHistoryTryTheSame) {
  const Config config = Load({});
  for (int64_t trial = 1; trial < 20; ++trial) {
    std::vector<std::string> din = TrialSettings(config, VariantOf(ModelKind::kDin), trial);
    const std::vector<std::string> grab = TrialSettings(config, VariantOf(ModelKind::kGrab), trial);
    for (std::string& setting : din) setting = "grab" + setting.substr(3);
    EXPECT_EQ(din, grab);
  }
}

// A config at the edge of what a setting may be is not left.
TEST(SearchSpace, StaysWithinTheSettings) {
  const std::vector<std::string> edge = {"trees.learning_rate=1.0",   "trees.depth_max=16",
                                         "trees.smoothing=1e9",       "grab.train.passes=1",
                                         "grab.train.batch_tokens=1", "grab.train.dense_lr=10"};
  const Config config = Load(edge);
  for (const Variant& model : {ParseVariant("trees").value(), VariantOf(ModelKind::kGrab)}) {
    for (int64_t trial = 1; trial < 50; ++trial) Load(TrialSettings(config, model, trial));
  }
}

}  // namespace
}  // namespace grab
