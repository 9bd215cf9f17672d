// The invariants of the design, on random worlds with random models: every seed is in the failure
// message.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/naive_grab.h"
#include "support/random_model.h"

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;
using testing::ScoreAll;
using Scores = std::map<uint64_t, std::vector<float>>;

constexpr uint64_t kSeeds = 12;

// Two forwards in f32 that add in another order differ by a few units in the last place of logits
// of order 1-10.
constexpr double kSameLogit = 2e-5;

double MaxDifference(const Scores& a, const Scores& b) {
  double difference = 0.0;
  for (const auto& [event, logits] : a) {
    for (size_t t = 0; t < logits.size(); ++t) {
      difference = std::max(difference, std::abs(double(logits[t]) - double(b.at(event)[t])));
    }
  }
  return difference;
}

// Another batch can make the products split their sums differently, so "the same" is up to
// rounding; a leak moves logits by tenths.
bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t t = 0; t < a.size(); ++t) {
    if (!(std::abs(a[t] - b[t]) <= kSameLogit * (1 + std::abs(a[t])))) return false;
  }
  return a.size() == b.size();
}

struct Variant {
  bool pre_norm;
  bool mix;
  size_t channels;
  int64_t layers;
  int64_t latent = 0;
  bool action_bias = true;
};

Config VariantConfig(const Variant& variant) {
  Config config = MakeConfig();
  config.grab.model.norm = variant.pre_norm ? "pre" : "post";
  config.grab.model.target_mix = variant.mix;
  config.grab.model.channels.resize(variant.channels);
  config.grab.model.layers = variant.layers;
  config.grab.model.latent_width = variant.latent;
  config.grab.model.action_bias = variant.action_bias;
  return config;
}

const Variant kVariants[] = {{true, true, 2, 2},     {false, true, 2, 2},
                             {true, false, 2, 3},    {true, true, 1, 1},
                             {true, true, 2, 1},     {true, true, 2, 2, 4},
                             {false, true, 2, 2, 9}, {true, true, 2, 2, 0, false}};

uint32_t UserOf(const UserBlock& block, uint32_t event) {
  uint32_t user = 0;
  while (block.user_offsets[user + 1] <= event) ++user;
  return user;
}

// Packed scores of a random block equal those of the naive model, one padded row per impression.
void ExpectEqualsNaive(const Config& config, ModelKind kind, uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << ModelKindName(kind) << " seed " << seed);
  const Model model = MakeModel(config, kind, seed);
  const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 3, 14);
  const Scores packed = ScoreAll(model, block);
  const testing::NaiveGrab naive(model, block);
  for (uint32_t i = 0; i < block.events.size(); ++i) {
    if (block.events.split[i] != Split::kTrain) continue;
    const uint32_t user = UserOf(block, i);
    const std::vector<double> expected =
        naive.Score(block.user_offsets[user], block.user_offsets[user + 1], i);
    for (size_t t = 0; t < expected.size(); ++t) {
      ASSERT_NEAR(packed.at(block.events.event_id[i])[t], expected[t],
                  kSameLogit * (1 + std::abs(expected[t])))
          << "event " << i << " task " << t;
    }
  }
}

TEST(Invariants, PackedEqualsOnePaddedRowPerImpression) {
  for (const Variant& variant : kVariants) {
    SCOPED_TRACE(::testing::Message() << "layers " << variant.layers << " channels "
                                      << variant.channels << " pre " << variant.pre_norm);
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      ExpectEqualsNaive(VariantConfig(variant), ModelKind::kGrab, seed);
    }
  }
}

TEST(Invariants, DlrmEqualsOneRowPerImpression) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    ExpectEqualsNaive(MakeConfig(), ModelKind::kDlrm, seed);
  }
}

TEST(Invariants, ScoresDoNotDependOnThePackingBudget) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 3, 40);
    const Scores whole = ScoreAll(model, block);
    for (const uint64_t tokens_max : {1, 9, 40}) {
      EXPECT_LE(MaxDifference(whole, ScoreAll(model, block, tokens_max)), kSameLogit)
          << "seed " << seed << " tokens_max " << tokens_max;
    }
  }
}

// Everything of one event that feedback decides.
void FlipFeedback(const Schema& schema, uint32_t event, EventColumns& events) {
  events.actions[event] ^= 3u & events.actions_known[event];
  events.labels[event] ^= 1u;
  const auto dwell = static_cast<size_t>(schema.FieldIndex("dwell"));
  events.fields[dwell].numbers[event] = events.fields[dwell].numbers[event] > 1.5f ? 0.5f : 2.5f;
}

TEST(Invariants, OwnFeedbackNeverReachesScoresUpToItsKnownTime) {
  int checked_later = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 2, 12);
    const Scores before = ScoreAll(model, block);
    for (uint32_t e = 0; e < block.events.size(); ++e) {
      UserBlock changed = block;
      FlipFeedback(model.spec.tokens.schema, e, changed.events);
      const Scores after = ScoreAll(model, changed);
      bool later = false;
      for (uint32_t i = 0; i < block.events.size(); ++i) {
        if (block.events.split[i] != Split::kTrain) continue;
        const uint64_t id = block.events.event_id[i];
        const bool may_change = UserOf(block, i) == UserOf(block, e) &&
                                block.events.request_time_ms[i] > block.events.known_time_ms[e];
        if (!may_change) {
          EXPECT_TRUE(Same(before.at(id), after.at(id)))
              << "seed " << seed << " changed " << e << " scored " << i;
        } else {
          later = later || !Same(before.at(id), after.at(id));
        }
      }
      checked_later += later ? 1 : 0;
    }
  }
  EXPECT_GT(checked_later, 20);  // the feedback does matter to those that may see it
}

// Without them everything else scores the same; as history they would have been seen.
TEST(Invariants, CandidatesOnlyReachNoOtherScore) {
  int seen_as_history = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const Schema& schema = model.spec.tokens.schema;
    const UserBlock block = MakeBlock(schema, seed, 2, 20);
    UserBlock without;
    without.user_id = block.user_id;
    without.events = MakeColumns(schema);
    without.user_offsets = {0};
    for (uint32_t user = 0; user < block.users(); ++user) {
      for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
        if (block.events.history[i] != 0) AppendEvent(schema, block.events, i, without.events);
      }
      without.user_offsets.push_back(static_cast<uint32_t>(without.events.size()));
    }
    UserBlock as_history = block;
    std::fill(as_history.events.history.begin(), as_history.events.history.end(), 1);
    const Scores before = ScoreAll(model, block);
    const Scores seen = ScoreAll(model, as_history);
    for (const auto& [id, logits] : ScoreAll(model, without)) {
      EXPECT_TRUE(Same(before.at(id), logits)) << "seed " << seed << " event " << id;
      seen_as_history += Same(before.at(id), seen.at(id)) ? 0 : 1;
    }
  }
  EXPECT_GT(seen_as_history, 20);
}

TEST(Invariants, EventsOfOnePageDoNotSeeEachOther) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 2, 12);
    const Scores before = ScoreAll(model, block);
    for (uint32_t e = 0; e < block.events.size(); ++e) {
      UserBlock changed = block;
      changed.events.fields[0].ids[e] = 1 + changed.events.fields[0].ids[e] % 11 + 1;  // another ad
      FlipFeedback(model.spec.tokens.schema, e, changed.events);
      const Scores after = ScoreAll(model, changed);
      for (uint32_t i = 0; i < block.events.size(); ++i) {
        if (i == e || block.events.split[i] != Split::kTrain ||
            block.events.request_time_ms[i] != block.events.request_time_ms[e] ||
            UserOf(block, i) != UserOf(block, e)) {
          continue;
        }
        EXPECT_TRUE(Same(before.at(block.events.event_id[i]), after.at(block.events.event_id[i])))
            << "seed " << seed << " changed " << e << " scored " << i;
      }
    }
  }
}

TEST(Invariants, ChangingOneUserChangesNoOther) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const Schema& schema = model.spec.tokens.schema;
    const UserBlock block = MakeBlock(schema, seed, 3, 15);
    const Scores before = ScoreAll(model, block);
    UserBlock changed = block;  // user 1 gets another life; its row counts stay
    for (uint32_t i = block.user_offsets[1]; i < block.user_offsets[2]; ++i) {
      FlipFeedback(schema, i, changed.events);
      for (size_t f : {0u, 4u})
        changed.events.fields[f].ids[i] = 1 + (changed.events.fields[f].ids[i] + 5) % 11;
    }
    const Scores after = ScoreAll(model, changed);
    for (uint32_t i = 0; i < block.events.size(); ++i) {
      if (UserOf(block, i) == 1 || block.events.split[i] != Split::kTrain) continue;
      EXPECT_TRUE(Same(before.at(block.events.event_id[i]), after.at(block.events.event_id[i])))
          << "seed " << seed << " event " << i;
    }
  }
}

// The first `count` events of every user.
UserBlock Prefix(const Schema& schema, const UserBlock& block, uint32_t count) {
  UserBlock prefix;
  prefix.events = MakeColumns(schema);
  prefix.user_offsets = {0};
  for (uint32_t user = 0; user < block.users(); ++user) {
    const uint32_t begin = block.user_offsets[user];
    const uint32_t end = std::min(block.user_offsets[user + 1], begin + count);
    for (uint32_t i = begin; i < end; ++i) AppendEvent(schema, block.events, i, prefix.events);
    prefix.user_id.push_back(block.user_id[user]);
    prefix.user_offsets.push_back(static_cast<uint32_t>(prefix.events.size()));
  }
  return prefix;
}

// Also "appending events one by one == computing all at once": the scores of every prefix are those
// of the whole.
TEST(Invariants, LaterEventsChangeNoEarlierScore) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const Schema& schema = model.spec.tokens.schema;
    const UserBlock block = MakeBlock(schema, seed, 3, 15);
    const Scores whole = ScoreAll(model, block);
    for (uint32_t count = 1; count < 15; ++count) {
      const UserBlock prefix = Prefix(schema, block, count);
      for (const auto& [event, logits] : ScoreAll(model, prefix)) {
        // An event of the prefix may see one that sorts after it only if that was known before its
        // request, which the order by known time excludes.
        for (size_t t = 0; t < logits.size(); ++t) {
          EXPECT_NEAR(logits[t], whole.at(event)[t], kSameLogit)
              << "seed " << seed << " count " << count;
        }
      }
    }
  }
}

// A model without a latent is written as before there were any; a latent comes back from json, and
// a wrong one is refused.
TEST(ModelSpecJson, TheLatentIsOptionalAndChecked) {
  Config config = MakeConfig();
  const auto spec = [&] {
    return *ModelSpec::FromConfig(config, ModelKind::kGrab, *Schema::FromConfig(config));
  };
  EXPECT_FALSE(spec().ToJson().contains("latent_width"));
  config.grab.model.latent_width = 5;
  nlohmann::json json = spec().ToJson();
  const StatusOr<ModelSpec> read = ModelSpec::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->latent_width, 5);
  EXPECT_EQ(read->ToJson(), json);
  for (const nlohmann::json& wrong :
       {nlohmann::json("5"), nlohmann::json(-1), nlohmann::json(0.5), nlohmann::json(1 << 20)}) {
    json["latent_width"] = wrong;
    EXPECT_FALSE(ModelSpec::FromJson(json).ok()) << wrong;
  }
}

TEST(ModelSpecJson, EveryKindComesBack) {
  Config config = MakeConfig();
  for (const char* field : {"", "ad"}) {
    config.sim.model.search.field = field;
    for (const ModelKind kind : kModelKinds) {
      const auto spec = ModelSpec::FromConfig(config, kind, *Schema::FromConfig(config));
      ASSERT_TRUE(spec.ok()) << spec.status();
      const auto read = ModelSpec::FromJson(nlohmann::json::parse(spec->ToJson().dump()));
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->kind, kind);
      EXPECT_EQ(read->ToJson(), spec->ToJson());
      EXPECT_EQ(read->Weights().size(), spec->Weights().size());
      EXPECT_EQ(ParseModelKind(ModelKindName(kind)).value(), kind);
    }
  }
}

TEST(ModelSpecJson, SearchIsChecked) {
  Config config = MakeConfig();
  const auto spec = ModelSpec::FromConfig(config, ModelKind::kTwin, *Schema::FromConfig(config));
  const nlohmann::json good = spec->ToJson();
  ASSERT_TRUE(ModelSpec::FromJson(good).ok());
  for (const char* key : {"recent", "found", "slot", "hash_bits"}) {
    for (const nlohmann::json& wrong :
         {nlohmann::json("5"), nlohmann::json(-2), nlohmann::json(0.5), nlohmann::json(1 << 30)}) {
      nlohmann::json bad = good;
      bad["search"][key] = wrong;
      EXPECT_FALSE(ModelSpec::FromJson(bad).ok()) << key << " " << wrong;
    }
    nlohmann::json lacking = good;
    lacking["search"].erase(key);
    EXPECT_FALSE(ModelSpec::FromJson(lacking).ok()) << key;
  }
  // Fields that events and candidates do not share: several ids, and what only one of them has.
  for (const char* field : {"tags", "user", "dwell", "none"}) {
    config.sim.model.search.field = field;
    EXPECT_FALSE(ModelSpec::FromConfig(config, ModelKind::kSim, *Schema::FromConfig(config)).ok())
        << field;
  }
  config.hstu.model.channels = config.grab.model.channels;
  EXPECT_FALSE(ModelSpec::FromConfig(config, ModelKind::kHstu, *Schema::FromConfig(config)).ok());
}

}  // namespace
}  // namespace grab
