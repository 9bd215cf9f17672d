// The AUC of single fields (eval/field_check.h): one that is the label in other words is found, by
// its values or by its order, and one that only tells events apart is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "eval/field_check.h"
#include "support/base_temp_dir.h"
#include "support/hand_made_shards.h"

namespace grab {
namespace {

constexpr uint64_t kTargets = 2000;
constexpr uint64_t kAll = 1 << 20;

// 20 users; `item` and `price` of a target by its label, of 3 in 10 clicked, and its number.
std::unique_ptr<ShardSet> MakeShards(const std::string& dir, uint64_t targets,
                                     const std::function<uint64_t(bool, uint64_t)>& item,
                                     const std::function<float(bool, uint64_t)>& price,
                                     Split split = Split::kTrain) {
  Rng rng(7);
  std::vector<UserBlock> blocks;
  uint64_t next = 0;
  for (uint64_t user = 0; user < 20; ++user) {
    std::vector<testing::HandMadeEvent> events;
    std::vector<float> prices;
    for (uint64_t i = 0; i < targets / 20; ++i, ++next) {
      const bool clicked = rng.Bernoulli(0.3);
      const auto hour = static_cast<int64_t>(i);
      events.push_back({hour, hour, split, item(clicked, next), clicked ? 1 : 0});
      prices.push_back(price(clicked, next));
    }
    blocks.push_back(testing::HandMadeUser(absl::StrCat("user", user), events));
    blocks.back().events.fields[1].numbers = prices;
    for (uint64_t& id : blocks.back().events.event_id) id += 1000 * user;
  }
  return testing::WriteShards(testing::HandMadeSchema(), blocks, dir);
}

uint64_t OneItem(bool, uint64_t) { return 7; }
float OnePrice(bool, uint64_t) { return 1.0f; }

std::vector<std::optional<double>> Aucs(const ShardSet& shards, uint64_t targets_max = kAll) {
  return SingleFieldAucs(shards, {0, 1}, 0, targets_max).value();
}

TEST(FieldCheck, AValueThatIsTheLabelHasAucOne) {
  const TempDir dir;
  const auto shards = MakeShards(
      dir.path(), kTargets, [](bool clicked, uint64_t n) { return 1 + 2 * (n % 10) + clicked; },
      OnePrice);
  const auto aucs = Aucs(*shards);
  EXPECT_DOUBLE_EQ(aucs[0].value(), 1.0);
  EXPECT_DOUBLE_EQ(aucs[1].value(), 0.5);  // all equal
}

// No two are alike, so that rates per value tell nothing; which way is up does not matter.
TEST(FieldCheck, ANumberThatTheLabelOrdersHasAucOne) {
  for (const float sign : {1.0f, -1.0f}) {
    const TempDir dir;
    const auto shards = MakeShards(dir.path(), kTargets, OneItem, [sign](bool clicked, uint64_t n) {
      return sign * (static_cast<float>(n) * 1e-4f + (clicked ? 1.0f : 0.0f));
    });
    EXPECT_DOUBLE_EQ(Aucs(*shards)[1].value(), 1.0);
  }
}

// Half of the values missing where there was no click: only that they are missing tells.
TEST(FieldCheck, WhatIsMissingTells) {
  const TempDir dir;
  const auto shards = MakeShards(dir.path(), kTargets, OneItem, [](bool clicked, uint64_t n) {
    return clicked || n % 2 == 0 ? 1.0f : std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_NEAR(Aucs(*shards)[1].value(), 0.75, 0.03);
}

// An id of the event is no leak. The rest is chance: 4 standard deviations of the AUC of 300
// clicked and 700 others.
TEST(FieldCheck, WhatTellsNothingIsAtChance) {
  const double chance = 4.0 * 0.02;
  const TempDir dir;
  Rng rng(11);
  const auto shards = MakeShards(
      dir.path(), kTargets, [](bool, uint64_t n) { return 1 + n; },
      [&rng](bool, uint64_t) { return static_cast<float>(rng.Uniform()); });
  const auto aucs = Aucs(*shards);
  EXPECT_DOUBLE_EQ(aucs[0].value(), 0.5);
  EXPECT_NEAR(aucs[1].value(), 0.5, chance);
}

TEST(FieldCheck, FewTargetsOrNoneOfTrainingSayNothing) {
  const auto by_label = [](bool clicked, uint64_t) { return clicked ? uint64_t{2} : uint64_t{1}; };
  const TempDir few, test;
  const auto shards = MakeShards(few.path(), kTargets, by_label, OnePrice);
  EXPECT_EQ(Aucs(*shards, 100), (std::vector<std::optional<double>>(2)));
  EXPECT_TRUE(Aucs(*shards, 1000)[0].has_value());
  const auto test_only = MakeShards(test.path(), kTargets, by_label, OnePrice, Split::kTest);
  EXPECT_EQ(Aucs(*test_only), (std::vector<std::optional<double>>(2)));
}

}  // namespace
}  // namespace grab
