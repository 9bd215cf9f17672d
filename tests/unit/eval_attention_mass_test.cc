// The attention of a split of shards: what is seen counted anew from the events, models whose
// attention is known beforehand, the sample, and merged buckets by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "eval/attention_mass.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;

constexpr uint64_t kSeed = 7;
constexpr uint32_t kBuy = 1;  // the first action of MakeConfig

// Users of up to 30 events, 7 in 10 of them targets; the targets are of Split::kTrain.
class AttentionMassTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Schema schema = model_.spec.tokens.schema;
    for (const uint64_t seed : {kSeed, kSeed + 1})
      blocks_.push_back(MakeBlock(schema, seed, 6, 30));
    shards_ = testing::WriteShards(schema, blocks_, dir_.path());
  }

  AttentionMass Measure(const AttentionOptions& options) {
    StatusOr<AttentionMass> mass = MeasureAttention(model_, *shards_, options, NoProgress());
    EXPECT_TRUE(mass.ok()) << mass.status();
    return *std::move(mass);
  }

  // Of every target the actions of its last history (at most 4: the window of channel "all") that
  // was known before it, the newest first.
  std::vector<std::vector<uint32_t>> SeenActions() const {
    std::vector<std::vector<uint32_t>> seen;
    for (const UserBlock& block : blocks_) {
      const EventColumns& events = block.events;
      for (size_t user = 0; user < block.users(); ++user) {
        const size_t begin = block.user_offsets[user], end = block.user_offsets[user + 1];
        for (size_t target = begin; target < end; ++target) {
          if (events.split[target] != Split::kTrain) continue;
          std::vector<uint32_t>& actions = seen.emplace_back();
          for (size_t i = end; i-- > begin && actions.size() < 4;) {
            if (events.history[i] != 0 &&
                events.known_time_ms[i] < events.request_time_ms[target]) {
              actions.push_back(events.actions[i]);
            }
          }
        }
      }
    }
    return seen;
  }

  // A query is its bias, keys are nothing: only codebooks decide, and they are zero.
  void ForgetKeysAndBiases() {
    for (auto& [name, values] : model_.weights) {
      if (name.find("attention.qkv.") == std::string::npos &&
          name.find("attention.codebook_") == std::string::npos) {
        continue;
      }
      std::fill(values.begin(), values.end(), 0.0f);
      if (!name.ends_with("qkv.bias")) continue;
      std::fill_n(values.begin(), model_.spec.d_model, 1.0f);
    }
  }

  TempDir dir_;
  Model model_ = MakeModel(MakeConfig(), ModelKind::kGrab, kSeed);
  std::vector<UserBlock> blocks_;
  std::unique_ptr<ShardSet> shards_;
  AttentionOptions all_ = {.split = Split::kTrain};
};

// Of 6 buckets over 4 distances one stays empty: it is left out, the others are of one distance.
TEST_F(AttentionMassTest, CountsWhatIsSeen) {
  const AttentionMass mass = Measure(all_);
  ASSERT_EQ(mass.channels.size(), 2u);
  const ChannelAttention& channel = mass.channels[0];
  EXPECT_EQ(channel.name, "all");
  ASSERT_EQ(channel.position.size(), 4u);
  double queries = 0.0, targets = 0.0, self_uniform = 0.0;
  std::vector<double> keys(4, 0.0), uniform(4, 0.0);
  for (const std::vector<uint32_t>& seen : SeenActions()) {
    targets += 1.0;
    if (seen.empty()) continue;
    queries += 1.0;
    const double share = 1.0 / (1.0 + static_cast<double>(seen.size()));
    self_uniform += share;
    for (size_t distance = 0; distance < seen.size(); ++distance) {
      keys[distance] += 1.0;
      uniform[distance] += share;
    }
  }
  ASSERT_GT(queries, 40.0);
  ASSERT_LT(queries, targets);
  EXPECT_EQ(mass.targets, targets);
  EXPECT_EQ(mass.sampled, targets);
  EXPECT_EQ(channel.queries, queries);
  EXPECT_NEAR(channel.self.uniform, self_uniform / queries, 1e-12);
  for (size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(channel.position[b].from, b + 1.0);
    EXPECT_EQ(channel.position[b].to, b + 1.0);
    EXPECT_NEAR(channel.position[b].keys, keys[b] / queries, 1e-12);
    EXPECT_NEAR(channel.position[b].uniform, uniform[b] / queries, 1e-12);
  }
  // 5 buckets: the candidate; to 1 s, 31.623 s, 1000 s; beyond.
  ASSERT_EQ(channel.time.size(), 4u);
  EXPECT_EQ(channel.time[1].from, 1.0);
  EXPECT_EQ(channel.time[1].to, 31.623);
  EXPECT_EQ(channel.time[3].from, 1000.0);
  EXPECT_EQ(channel.time[3].to, std::nullopt);
  std::vector<std::string> actions;
  for (const AttentionBucket& bucket : channel.action) actions.push_back(bucket.action);
  EXPECT_THAT(actions, ElementsAre("no action", "buy", "click", "not known"));
}

// Rounding: weights are f32.
TEST_F(AttentionMassTest, EachKindSumsToOne) {
  for (const ChannelAttention& channel : Measure(all_).channels) {
    for (const auto* kind : {&channel.position, &channel.time, &channel.action}) {
      double uniform = channel.self.uniform;
      std::vector<double> sums = channel.self.mass;
      for (const AttentionBucket& bucket : *kind) {
        uniform += bucket.uniform;
        for (size_t l = 0; l < sums.size(); ++l) sums[l] += bucket.mass[l];
      }
      EXPECT_NEAR(uniform, 1.0, 1e-12);
      EXPECT_THAT(sums, ElementsAre(DoubleNear(1.0, 1e-6), DoubleNear(1.0, 1e-6)));
    }
  }
}

TEST_F(AttentionMassTest, WithoutProductsAllKeysGetTheSame) {
  ForgetKeysAndBiases();
  for (const ChannelAttention& channel : Measure(all_).channels) {
    for (const auto* kind : {&channel.position, &channel.time, &channel.action}) {
      for (const AttentionBucket& bucket : *kind) {
        EXPECT_THAT(bucket.mass, ElementsAre(DoubleNear(bucket.uniform, 1e-6),
                                             DoubleNear(bucket.uniform, 1e-6)));
      }
    }
  }
}

// A bias of 100 for the class "buy", alone in the softmax: who has seen a purchase attends to
// purchases only.
TEST_F(AttentionMassTest, AttentionToOneActionIsFoundThere) {
  ForgetKeysAndBiases();
  const int64_t width = model_.spec.head_width(), classes = model_.spec.action_classes();
  for (auto& [name, values] : model_.weights) {
    if (!name.ends_with("codebook_action")) continue;
    for (int64_t head = 0; head < model_.spec.heads; ++head) {
      std::fill_n(values.begin() + (head * classes + 1) * width, width, 100.0f);
    }
  }
  double queries = 0.0, bought = 0.0;
  for (const std::vector<uint32_t>& seen : SeenActions()) {
    if (seen.empty()) continue;
    queries += 1.0;
    bought += std::any_of(seen.begin(), seen.end(), [](uint32_t a) { return (a & kBuy) != 0; });
  }
  ASSERT_GT(bought, 10.0);
  ASSERT_LT(bought, queries);
  const AttentionBucket buy = Measure(all_).channels[0].action[1];
  EXPECT_EQ(buy.action, "buy");
  EXPECT_THAT(buy.mass,
              ElementsAre(DoubleNear(bought / queries, 1e-6), DoubleNear(bought / queries, 1e-6)));
}

TEST_F(AttentionMassTest, ASampleHasItsSizeAndIsAlwaysTheSame) {
  AttentionOptions options = all_;
  options.targets_max = 20;
  const AttentionMass mass = Measure(options);
  EXPECT_EQ(mass.sampled, 20u);
  EXPECT_GT(mass.targets, 40u);
  EXPECT_EQ(ToJson(Measure(options)), ToJson(mass));
  options.seed = 2;
  EXPECT_NE(ToJson(Measure(options))["channels"], ToJson(mass)["channels"]);
}

// Products may add in another order in another batch.
TEST_F(AttentionMassTest, DoesNotDependOnTheBatches) {
  AttentionOptions options = all_;
  const std::vector<ChannelAttention> whole = Measure(options).channels;
  options.batch_tokens = 1;
  const AttentionMass single = Measure(options);
  EXPECT_EQ(single.sampled, single.targets);
  for (size_t b = 0; b < whole[0].position.size(); ++b) {
    for (size_t layer = 0; layer < 2; ++layer) {
      EXPECT_NEAR(single.channels[0].position[b].mass[layer], whole[0].position[b].mass[layer],
                  1e-5);
    }
  }
}

TEST_F(AttentionMassTest, RefusesOtherModels) {
  const Model dlrm = MakeModel(MakeConfig(), ModelKind::kDlrm, kSeed);
  const Status status = MeasureAttention(dlrm, *shards_, all_, NoProgress()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the model is dlrm"));
}

TEST(MergeBuckets, AddsNeighboursAndDropsTheUnseen) {
  std::vector<AttentionBucket> buckets;
  for (int b = 0; b < 6; ++b) {
    AttentionBucket& bucket = buckets.emplace_back();
    bucket.from = b;
    bucket.to = b + 1;
    bucket.keys = b == 1 ? 0.0 : 2.0;
    bucket.uniform = 0.125;
    bucket.mass = {0.25 * b, 0.5};
  }
  buckets.back().to = std::nullopt;
  EXPECT_EQ(MergeBuckets(buckets, 5).size(), 5u);
  const std::vector<AttentionBucket> merged = MergeBuckets(buckets, 3);  // 0, 2; 3, 4; 5
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].from, 0.0);
  EXPECT_EQ(merged[0].to, 3.0);
  EXPECT_EQ(merged[0].keys, 4.0);
  EXPECT_EQ(merged[0].uniform, 0.25);
  EXPECT_THAT(merged[0].mass, ElementsAre(0.5, 1.0));
  EXPECT_THAT(merged[1].mass, ElementsAre(1.75, 1.0));
  EXPECT_EQ(merged[2].to, std::nullopt);
  EXPECT_TRUE(MergeBuckets({}, 3).empty());
}

}  // namespace
}  // namespace grab
