// The axes of `grab scale`: the effective config that a value leads to, for every model that has
// the axis; the time of the training targets, against the events one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cli/scale_axis.h"
#include "cli/scaling.h"
#include "config/config.h"
#include "support/base_temp_dir.h"
#include "support/random_world.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kConfig[] = GRAB_SOURCE_DIR "/configs/simulator.toml";

// The config at a value, read as a training run reads it.
ModelRunConfig At(ModelKind kind, ScaleAxis axis, double value,
                  const std::vector<std::string>& before = {}, const TrainingTime& time = {}) {
  const Config config = LoadConfig(kConfig, before).value();
  const Variant variant = ScaledVariant(config, VariantOf(kind), axis, value, time).value();
  EXPECT_EQ(variant.kind, kind);
  std::vector<std::string> settings = before;
  settings.insert(settings.end(), variant.settings.begin(), variant.settings.end());
  const StatusOr<Config> scaled = LoadConfig(kConfig, settings);
  EXPECT_TRUE(scaled.ok()) << scaled.status();
  return RunConfigOf(*scaled, kind);
}

TEST(ScaleAxis, HistoryIsTheWindowOfEveryChannel) {
  const std::vector<std::string> before = {
      "grab.model.channel=[{name=\"a\"}, {name=\"b\", window_len=7}]"};
  for (const int64_t value : {0, 1, 8, 2048}) {
    for (const ModelKind kind : kModelKinds) {
      if (!HasAxis(kind, ScaleAxis::kHistory)) continue;
      SCOPED_TRACE(::testing::Message() << ModelKindName(kind) << " " << value);
      const ModelRunConfig run = At(kind, ScaleAxis::kHistory, value, before);
      EXPECT_EQ(run.model.channels.size(), kind == ModelKind::kGrab ? 2u : 1u);
      for (const ChannelConfig& channel : run.model.channels) {
        EXPECT_EQ(channel.window_len, value);
      }
      if (kind == ModelKind::kDin) {
        EXPECT_EQ(run.model.search.recent, std::max<int64_t>(1, value));
      } else if (Searches(kind)) {  // 20 in the config
        EXPECT_EQ(run.model.search.recent, std::clamp<int64_t>(value, 1, 20));
      }
    }
  }
}

TEST(ScaleAxis, HistoryOfAModelWithoutChannelsIsThatOfAll) {
  const ModelRunConfig run =
      At(ModelKind::kGrab, ScaleAxis::kHistory, 16, {"grab.model.channel=[]"});
  ASSERT_EQ(run.model.channels.size(), 1u);
  EXPECT_EQ(run.model.channels[0].window_len, 16);
  EXPECT_TRUE(run.model.channels[0].actions.empty());
}

// 1024 of 2048 events of a training window are trained; the first of them sees 1024 before it.
TEST(ScaleAxis, TrainingWindowsHoldWhatTheHistoryReaches) {
  EXPECT_EQ(At(ModelKind::kDin, ScaleAxis::kHistory, 1024).train.window_size, 2048);
  EXPECT_EQ(At(ModelKind::kDin, ScaleAxis::kHistory, 1025).train.window_size, 2049);
  EXPECT_EQ(At(ModelKind::kGrab, ScaleAxis::kHistory, 1025).train.window_size, 1024 + 2 * 1025);
}

// Half of a batch at least is new: with 2 layers of 1024 and 2048 tokens, each step would have one
// target.
TEST(ScaleAxis, BatchesHoldMoreThanTheHistoryReadAgain) {
  const std::vector<std::string> before = {"grab.train.batch_tokens=2048"};
  EXPECT_EQ(At(ModelKind::kGrab, ScaleAxis::kHistory, 512, before).train.batch_tokens, 2048);
  EXPECT_EQ(At(ModelKind::kGrab, ScaleAxis::kHistory, 1024, before).train.batch_tokens, 4096);
}

TEST(ScaleAxis, WidthScalesTheHiddenWidths) {
  const std::vector<std::string> before = {"grab.model.latent_width=24",
                                           "grab.model.ffn_hidden=200"};
  const ModelConfig half = At(ModelKind::kGrab, ScaleAxis::kWidth, 32, before).model;  // of 64
  EXPECT_EQ(half.d_model, 32);
  EXPECT_EQ(half.ffn_hidden, 100);
  EXPECT_EQ(half.tokenizer_hidden, 64);
  EXPECT_EQ(half.latent_width, 12);
  const ModelConfig same = At(ModelKind::kTwin, ScaleAxis::kWidth, 64).model;
  EXPECT_EQ(same.ffn_hidden, 128);
  EXPECT_EQ(same.latent_width, 0);
  EXPECT_EQ(At(ModelKind::kDlrm, ScaleAxis::kWidth, 256).model.tokenizer_hidden, 512);
}

TEST(ScaleAxis, DepthIsLayers) {
  EXPECT_EQ(At(ModelKind::kGrab, ScaleAxis::kDepth, 8).model.layers, 8);
  EXPECT_EQ(At(ModelKind::kHstu, ScaleAxis::kDepth, 1).model.layers, 1);
}

// Of 1,000 s that begin at 2024-01-03T00:00:00 a quarter begins at 750 s: 12 min 30 s.
TEST(ScaleAxis, DataAreTheNewest) {
  const TrainingTime time{1704240000000, 1704241000000};
  EXPECT_EQ(At(ModelKind::kDlrm, ScaleAxis::kData, 0.25, {}, time).train.from,
            "2024-01-03T00:12:30Z");
  EXPECT_EQ(At(ModelKind::kDlrm, ScaleAxis::kData, 1.0, {}, time).train.from, "");
}

TEST(ScaleAxis, TreesHaveNone) {
  const Config config = LoadConfig(kConfig, {}).value();
  for (const ScaleAxis axis : kScaleAxes) {
    const Status status =
        ScaledVariant(config, ParseVariant("trees").value(), axis, 1, {}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("trees has no"));
  }
}

TEST(ScaleAxis, TrainingTimeIsThatOfTheTargets) {
  const Schema schema = *Schema::FromConfig(testing::MakeConfig());
  const std::vector<UserBlock> blocks = {testing::MakeBlock(schema, 1, 4, 20),
                                         testing::MakeBlock(schema, 2, 4, 20)};
  std::vector<int64_t> times_ms;
  for (const UserBlock& block : blocks) {
    for (size_t i = 0; i < block.events.size(); ++i) {
      if (block.events.split[i] == Split::kTrain) {
        times_ms.push_back(block.events.request_time_ms[i]);
      }
    }
  }
  std::sort(times_ms.begin(), times_ms.end());
  const TempDir dir;
  const std::unique_ptr<ShardSet> shards = testing::WriteShards(schema, blocks, dir.path());
  TrainConfig train;
  const TrainingTime all = TrainingTimeOf(*shards, train).value();
  EXPECT_EQ(all.first_ms, times_ms.front());
  EXPECT_EQ(all.last_ms, times_ms.back());
  // [from, until): times of this world are whole seconds.
  const int64_t until_ms = times_ms.back(), from_ms = times_ms.front() + 1000;
  train.from = FormatTimeMs(from_ms);
  train.until = FormatTimeMs(until_ms);
  const TrainingTime inside = TrainingTimeOf(*shards, train).value();
  const auto at_least = [&](int64_t ms) {
    return std::lower_bound(times_ms.begin(), times_ms.end(),
                            ParseTimeMs(FormatTimeMs(ms)).value());
  };
  EXPECT_EQ(inside.first_ms, *at_least(from_ms));
  EXPECT_EQ(inside.last_ms, *(at_least(until_ms) - 1));
  train.from = "2030-01-01T00:00:00Z";
  train.until.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(TrainingTimeOf(*shards, train).status()));
}

// A value without a point is a gap in the line; names stand for the values.
TEST(Scaling, ChartHasAGapWhereNothingEnded) {
  Scaling scaling{ScaleAxis::kHistory, {0, 8, 2048}, {}};
  ScaleSeries& series = scaling.series.emplace_back();
  series.model = "grab";
  for (const double value : {0.0, 2048.0}) {
    series.points.push_back({value, {}});
    series.points.back().result.mean.auc = 0.5 + value / 10000;
  }
  const LineChart chart = ChartOf(scaling);
  EXPECT_THAT(chart.x_names, ElementsAre("0", "8", "2048"));
  ASSERT_EQ(chart.series.size(), 1u);
  EXPECT_THAT(chart.series[0].x, ElementsAre(0, 1, 2));
  EXPECT_EQ(chart.series[0].y[0], 0.5);
  EXPECT_TRUE(std::isnan(chart.series[0].y[1]));
  EXPECT_EQ(chart.series[0].y[2], 0.7048);
}

}  // namespace
}  // namespace grab
