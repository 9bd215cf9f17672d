// One hand-made event, slot by slot: keys, weights, missing values, pooling, crosses, actions.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/hash.h"
#include "support/random_world.h"
#include "tokens/tokeniser.h"

namespace grab {
namespace {

class TokeniserTest : public ::testing::Test {
 protected:
  TokeniserTest() {
    config_ = testing::MakeConfig();
    schema_ = *Schema::FromConfig(config_);
    spec_ = *TokenSpec::FromConfig(config_, schema_, 4);
    events_ = MakeColumns(schema_);
  }

  void AddEvent(uint64_t ad, std::vector<uint64_t> tags, std::vector<float> weights, float price,
                std::vector<float> image, uint64_t hour, uint32_t actions, uint32_t known) {
    events_.event_id.push_back(events_.size() + 1);
    events_.request_time_ms.push_back(0);
    events_.known_time_ms.push_back(0);
    events_.page_id.push_back(0);
    events_.session_id.push_back(0);
    events_.split.push_back(Split::kTrain);
    events_.history.push_back(1);
    events_.actions.push_back(actions);
    events_.actions_known.push_back(known);
    events_.labels.push_back(0);
    events_.labels_known.push_back(1);
    std::vector<FieldColumn>& fields = events_.fields;
    fields[0].ids.push_back(ad);
    fields[1].ids.insert(fields[1].ids.end(), tags.begin(), tags.end());
    fields[1].numbers.insert(fields[1].numbers.end(), weights.begin(), weights.end());
    fields[1].offsets.push_back(static_cast<uint32_t>(fields[1].ids.size()));
    fields[2].numbers.push_back(price);
    fields[3].numbers.insert(fields[3].numbers.end(), image.begin(), image.end());
    fields[4].ids.push_back(hour);
    fields[5].ids.push_back(77);
    fields[6].numbers.push_back(1.5f);
  }

  // The column of a slot in the view of all events.
  SlotColumn Column(TokenView view, const std::string& name) {
    const Tokeniser tokeniser(spec_, view);
    TokenColumns columns = tokeniser.Empty();
    for (size_t i = 0; i < events_.size(); ++i) tokeniser.Append(events_, i, columns);
    for (size_t c = 0; c < columns.slots.size(); ++c) {
      if (spec_.slots[static_cast<size_t>(columns.slots[c])].name == name)
        return columns.columns[c];
    }
    ADD_FAILURE() << "no slot " << name;
    return {};
  }

  Config config_;
  Schema schema_;
  TokenSpec spec_;
  EventColumns events_;
};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST_F(TokeniserTest, IdsNumbersCrossesAndMissingValues) {
  AddEvent(5, {1, 2}, {1.0f, 3.0f}, 0.3f, {1, 2, 3}, 9, 0, 3);
  AddEvent(0, {}, {}, kNan, {kNan, kNan, kNan}, 9, 0, 3);
  using Keys = std::vector<uint64_t>;
  EXPECT_EQ(Column(TokenView::kFull, "ad").keys, (Keys{5}));
  EXPECT_EQ(Column(TokenView::kFull, "ad").offsets, (std::vector<uint32_t>{0, 1, 1}));
  EXPECT_EQ(Column(TokenView::kFull, "tags").keys, (Keys{1, 2}));
  EXPECT_EQ(Column(TokenView::kFull, "tags").weights, (std::vector<float>{0.25f, 0.75f}));
  EXPECT_EQ(Column(TokenView::kFull, "price").keys, (Keys{2}));  // (0.25, 0.5]
  EXPECT_EQ(Column(TokenView::kFull, "image").dense, (std::vector<float>{1, 2, 3, 0, 0, 0}));
  EXPECT_EQ(Column(TokenView::kFull, "ad_x_hour").keys, (Keys{HashCombine(5, 9)}));
  EXPECT_EQ(Column(TokenView::kFull, "ad_x_hour").offsets, (std::vector<uint32_t>{0, 1, 1}));
  EXPECT_EQ(Column(TokenView::kPartial, "dwell").keys, (Keys{2, 2}));
}

TEST_F(TokeniserTest, SumPoolingKeepsTheWeights) {
  spec_.slots[1].mean = false;
  AddEvent(5, {1, 2}, {1.0f, 3.0f}, 0.3f, {1, 2, 3}, 9, 0, 3);
  EXPECT_EQ(Column(TokenView::kFull, "tags").weights, (std::vector<float>{1.0f, 3.0f}));
}

TEST_F(TokeniserTest, WeightsThatSumToZeroPoolToZero) {
  AddEvent(5, {1, 2}, {1.0f, -1.0f}, 0.3f, {1, 2, 3}, 9, 0, 3);
  EXPECT_EQ(Column(TokenView::kFull, "tags").weights, (std::vector<float>{0.0f, 0.0f}));
}

TEST_F(TokeniserTest, ActionsTellSetUnknownAndNone) {
  AddEvent(1, {}, {}, 0, {0, 0, 0}, 1, 0b00, 0b11);  // neither
  AddEvent(1, {}, {}, 0, {0, 0, 0}, 1, 0b10, 0b11);  // the second
  AddEvent(1, {}, {}, 0, {0, 0, 0}, 1, 0b11, 0b11);  // both
  AddEvent(1, {}, {}, 0, {0, 0, 0}, 1, 0b00, 0b01);  // not the first, the second unknown
  const SlotColumn actions = Column(TokenView::kPartial, "@actions");
  EXPECT_EQ(actions.offsets, (std::vector<uint32_t>{0, 1, 2, 4, 5}));
  EXPECT_EQ(actions.keys, (std::vector<uint64_t>{128, 2, 1, 2, 65}));
}

}  // namespace
}  // namespace grab
