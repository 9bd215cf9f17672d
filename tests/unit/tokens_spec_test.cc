// Slots follow from the config: which view a role enters, shared tables, crosses; the spec survives
// JSON; bad JSON is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/random_world.h"
#include "tokens/token_spec.h"

namespace grab {
namespace {

const TokenSlot& Slot(const TokenSpec& spec, const std::string& name) {
  for (const TokenSlot& slot : spec.slots) {
    if (slot.name == name) return slot;
  }
  ADD_FAILURE() << "no slot " << name;
  return spec.slots[0];
}

TokenSpec MakeSpec(const Config& config) {
  return *TokenSpec::FromConfig(config, *Schema::FromConfig(config), 4);
}

TEST(TokenSpec, RolesDecideTheViews) {
  const TokenSpec spec = MakeSpec(testing::MakeConfig());
  EXPECT_TRUE(Slot(spec, "ad").partial && Slot(spec, "ad").full);
  EXPECT_TRUE(Slot(spec, "hour").partial && Slot(spec, "hour").full);
  EXPECT_FALSE(Slot(spec, "user").partial);
  EXPECT_TRUE(Slot(spec, "user").full);
  EXPECT_TRUE(Slot(spec, "dwell").partial);
  EXPECT_FALSE(Slot(spec, "dwell").full);  // it would leak the label
  EXPECT_TRUE(Slot(spec, "@actions").partial);
  EXPECT_FALSE(Slot(spec, "@actions").full);
}

TEST(TokenSpec, PartialCanBeOverridden) {
  Config config = testing::MakeConfig();
  config.fields[0].partial = "no";
  config.fields[5].partial = "yes";
  const TokenSpec spec = MakeSpec(config);
  EXPECT_FALSE(Slot(spec, "ad").partial);
  EXPECT_TRUE(Slot(spec, "user").partial);
}

TEST(TokenSpec, WidthsAndTables) {
  Config config = testing::MakeConfig();
  config.fields[4].table = "ad";  // hour reads the table of ad
  config.fields[1].dim = 7;
  const TokenSpec spec = MakeSpec(config);
  EXPECT_EQ(Slot(spec, "hour").table, Slot(spec, "ad").table);
  EXPECT_EQ(Slot(spec, "tags").width, 7u);
  EXPECT_EQ(Slot(spec, "image").table, -1);
  // full: ad 4 + tags 7 + price 4 + image 3 + hour 4 + user 4 + cross 4; partial: dwell and actions
  // instead of user
  EXPECT_EQ(spec.FullWidth(), 30u);
  EXPECT_EQ(spec.PartialWidth(), 34u);
}

TEST(TokenSpec, FieldMissingFromTheShardsIsAnError) {
  const Config config = testing::MakeConfig();
  Schema schema = *Schema::FromConfig(config);
  schema.fields.erase(schema.fields.begin());
  const auto spec = TokenSpec::FromConfig(config, schema, 4);
  ASSERT_FALSE(spec.ok());
  EXPECT_NE(spec.status().message().find("'ad'"), absl::string_view::npos);
}

TEST(TokenSpec, SurvivesJson) {
  const TokenSpec spec = MakeSpec(testing::MakeConfig());
  const auto read = TokenSpec::FromJson(nlohmann::json::parse(spec.ToJson().dump()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), spec.ToJson());
}

// Every value of the JSON replaced by one of another type, and every key removed: an error or a
// spec, never a crash.
TEST(TokenSpec, DamagedJsonIsRefusedOrHarmless) {
  const nlohmann::json good = MakeSpec(testing::MakeConfig()).ToJson();
  const nlohmann::json flat = good.flatten();
  int refused = 0;
  for (const auto& [pointer, value] : flat.items()) {
    for (const nlohmann::json& other :
         {nlohmann::json("x"), nlohmann::json(-1), nlohmann::json(1e9), nlohmann::json(nullptr),
          nlohmann::json::array({1})}) {
      nlohmann::json bad = good;
      bad[nlohmann::json::json_pointer(pointer)] = other;
      refused += TokenSpec::FromJson(bad).ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, static_cast<int>(flat.size()));
  for (const char* key : {"schema", "slots"}) {
    nlohmann::json bad = good;
    bad.erase(key);
    EXPECT_FALSE(TokenSpec::FromJson(bad).ok()) << key;
  }
}

TEST(BucketKey, SplitsAtInclusiveUpperBounds) {
  const std::vector<double> bounds = {1.0, 2.0};
  EXPECT_EQ(BucketKey(bounds, -5.0f), 1u);
  EXPECT_EQ(BucketKey(bounds, 1.0f), 1u);
  EXPECT_EQ(BucketKey(bounds, 1.5f), 2u);
  EXPECT_EQ(BucketKey(bounds, 2.0f), 2u);
  EXPECT_EQ(BucketKey(bounds, std::numeric_limits<float>::infinity()), 3u);
  EXPECT_EQ(BucketKey(bounds, std::numeric_limits<float>::quiet_NaN()), 0u);
}

TEST(ActionClass, TakesTheFirstActionAndTellsNoneFromUnknown) {
  EXPECT_EQ(ActionClass(0b00, 0b11, 2), 0);
  EXPECT_EQ(ActionClass(0b01, 0b11, 2), 1);
  EXPECT_EQ(ActionClass(0b10, 0b11, 2), 2);
  EXPECT_EQ(ActionClass(0b11, 0b11, 2), 1);
  EXPECT_EQ(ActionClass(0b00, 0b01, 2), 3);
  EXPECT_EQ(ActionClass(0b10, 0b10, 2), 2);
  EXPECT_EQ(ActionClass(0, 0, 0), 0);
  EXPECT_EQ(ActionSelfClass(2), 4);
  EXPECT_EQ(ActionClasses(2), 5);
}

}  // namespace
}  // namespace grab
