// The engine against the batch forward and against itself, over random timelines with ties, late
// feedback and every field kind; windows that slide over several pages of 64 keys and windows much
// shorter than a page. Three shapes have a shared latent, of widths that no vector divides; one of
// them makes keys and values of more than a panel of 64 columns from it. In the last two a channel
// sees no history.
//
// Engine and batch forward share tokeniser and embedding tables only; kernels and order of
// additions differ. Logits are of order 1 to 10 after up to three layers: f32 agrees to 2e-6 on the
// average. A norm over these 6 columns sometimes divides by a small deviation, where both forwards
// are as far as 3e-5 from one in f64: hence 1e-4 for the largest difference.
// What is said to be the same to the bit is compared with ==.
#include "support/serve_engine.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/simd_target.h"
#include "serve/engine.h"

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;
using testing::ScoreAll;
using testing::TestEngine;

constexpr double kSameLogit = 1e-4;
constexpr double kSameLogitMean = 2e-6;

struct Shape {
  std::vector<int64_t> window_len;
  double window_time_s = 0.0;  // of the last channel
  int64_t layers = 2;
  bool pre_norm = true;
  int64_t latent = 0;
  int64_t d_model = 6;
  bool action_bias = true;
};

const Shape kShapes[] = {
    {{4, 3}, 60.0, 2, true},       {{1, 2}, 0.0, 3, true},
    {{70}, 0.0, 1, true},          {{100}, 0.0, 3, false},
    {{64, 33}, 300.0, 2, true},    {{129, 20}, 1000.0, 3, false},
    {{4, 3}, 60.0, 2, true, 3},    {{129, 20}, 1000.0, 3, false, 5},
    {{100}, 0.0, 2, true, 21, 40}, {{4, 3}, 60.0, 2, true, 0, 6, false},
    {{0, 3}, 60.0, 2, true},       {{0}, 0.0, 2, true, 3},
};

Model ModelOf(const Shape& shape, uint64_t seed) {
  Config config = MakeConfig();
  ModelConfig& model = config.grab.model;
  model.layers = shape.layers;
  model.latent_width = shape.latent;
  model.d_model = shape.d_model;
  model.action_bias = shape.action_bias;
  model.norm = shape.pre_norm ? "pre" : "post";
  model.channels.resize(shape.window_len.size());
  for (size_t c = 0; c < model.channels.size(); ++c) {
    model.channels[c].window_len = shape.window_len[c];
  }
  model.channels.back().window_time_s = shape.window_time_s;
  return MakeModel(config, ModelKind::kGrab, seed);
}

// Scoring targets of a user in order of request, as they would come to a server.
std::vector<uint32_t> TargetsByRequest(const UserBlock& block, uint32_t user) {
  std::vector<uint32_t> targets;
  for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
    if (block.events.split[i] == Split::kTrain) targets.push_back(i);
  }
  std::stable_sort(targets.begin(), targets.end(), [&](uint32_t a, uint32_t b) {
    return block.events.request_time_ms[a] < block.events.request_time_ms[b];
  });
  return targets;
}

// Plays a user's timeline: every event is appended once it is known, every target scored when it
// is requested; prefills with the first `prefilled` events.
std::map<uint64_t, std::vector<float>> Replay(TestEngine& engine, const UserBlock& block,
                                              uint32_t user, uint32_t prefilled) {
  const EventColumns& events = block.events;
  uint32_t next = block.user_offsets[user];
  const uint32_t end = block.user_offsets[user + 1];
  const uint32_t first = next;
  std::map<uint64_t, std::vector<float>> scores;
  bool cached = false;
  for (const uint32_t target : TargetsByRequest(block, user)) {
    uint32_t known = next;
    while (known < end && events.known_time_ms[known] < events.request_time_ms[target]) ++known;
    if (!cached && known - first >= prefilled) {
      EXPECT_TRUE(engine->Prefill(user, events, first, known).ok());
      cached = true;
      next = known;
    }
    if (!cached) continue;
    for (; next < known; ++next) EXPECT_TRUE(engine->Append(user, events, next, next + 1).ok());
    scores[events.event_id[target]] = engine.Score({{user, &events, target, target + 1}});
  }
  return scores;
}

TEST(Engine, ReplayedTimelinesScoreAsTheBatchForward) {
  uint64_t seed = 0;
  for (const Shape& shape : kShapes) {
    const Model model = ModelOf(shape, ++seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 4, 500);
    const auto expected = ScoreAll(model, block);
    for (const uint32_t prefilled : {0u, 150u}) {
      TestEngine engine(model, Precision::kF32, 16);
      size_t compared = 0;
      double differences = 0.0;
      for (uint32_t user = 0; user < block.users(); ++user) {
        for (const auto& [event, logits] : Replay(engine, block, user, prefilled)) {
          for (size_t t = 0; t < logits.size(); ++t) {
            ASSERT_NEAR(logits[t], expected.at(event)[t], kSameLogit)
                << "seed " << seed << " prefilled " << prefilled << " event " << event;
            differences += std::abs(logits[t] - expected.at(event)[t]);
            ++compared;
          }
        }
      }
      EXPECT_LE(differences / static_cast<double>(compared), kSameLogitMean) << "seed " << seed;
      EXPECT_GT(compared, 50u) << "seed " << seed;
    }
  }
}

// A candidate of every kind at the end of the history, to compare states by.
std::vector<float> Probe(TestEngine& engine, const UserBlock& block, uint64_t user) {
  EventColumns candidates = MakeColumns(engine.packed->spec().tokens.schema);
  for (uint32_t i = 0; i < 5; ++i) {
    AppendEvent(engine.packed->spec().tokens.schema, block.events, i, candidates);
    candidates.request_time_ms.back() = block.events.known_time_ms.back() + 1 + 1000 * (i / 2);
  }
  return engine.Score({{user, &candidates, 0, candidates.size()}});
}

// One user of 400 events or more: every window slides, and pages before it are given back.
UserBlock LongBlock(const Schema& schema, uint64_t seed) {
  UserBlock block = MakeBlock(schema, seed, 1, 600);
  while (block.events.size() < 400) block = MakeBlock(schema, seed += 100, 1, 600);
  return block;
}

TEST(Engine, AppendIsExactWhateverTheParts) {
  uint64_t seed = 10;
  for (const Shape& shape : kShapes) {
    const Model model = ModelOf(shape, ++seed);
    const UserBlock block = LongBlock(model.spec.tokens.schema, seed);
    const auto n = static_cast<uint32_t>(block.events.size());
    for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
      TestEngine whole(model, precision, 64);
      ASSERT_TRUE(whole->Prefill(7, block.events, 0, n).ok());
      const std::vector<float> expected = Probe(whole, block, 7);
      for (const uint32_t part : {1u, 2u, 63u, 100u}) {
        TestEngine parts(model, precision, part == 63 ? 5 : 64);
        ASSERT_TRUE(parts->Prefill(7, block.events, 0, n / 3).ok());
        for (uint32_t i = n / 3; i < n; i += part) {
          ASSERT_TRUE(parts->Append(7, block.events, i, std::min(n, i + part)).ok());
        }
        EXPECT_EQ(parts->Events(7), n);
        EXPECT_EQ(Probe(parts, block, 7), expected)
            << "seed " << seed << " precision " << PrecisionName(precision) << " part " << part;
      }
    }
  }
}

// The same on every SIMD target, whose vectors divide rows, keys and panels differently; f32 scores
// of all targets agree.
void ExpectEveryTargetIsExact(const Shape& shape) {
  const Model model = ModelOf(shape, 25);
  const UserBlock block = MakeBlock(model.spec.tokens.schema, 25, 1, 300);
  const auto n = static_cast<uint32_t>(block.events.size());
  std::vector<float> best;
  for (const std::string& target : SimdTargets()) {
    for (const bool dot_instructions : {true, false}) {
      ASSERT_TRUE(ForceSimdTarget(target, dot_instructions).ok());
      for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
        TestEngine whole(model, precision, 64);
        ASSERT_TRUE(whole->Prefill(7, block.events, 0, n).ok());
        const std::vector<float> scores = Probe(whole, block, 7);
        TestEngine parts(model, precision, 1);
        ASSERT_TRUE(parts->Prefill(7, block.events, 0, n / 2).ok());
        ASSERT_TRUE(parts->Append(7, block.events, n / 2, n).ok());
        EXPECT_EQ(Probe(parts, block, 7), scores) << target << " " << PrecisionName(precision);
        if (precision != Precision::kF32) continue;
        if (best.empty()) best = scores;
        for (size_t i = 0; i < best.size(); ++i) {
          EXPECT_NEAR(scores[i], best[i], kSameLogit) << target;
        }
      }
    }
  }
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

TEST(Engine, EveryTargetIsExact) { ExpectEveryTargetIsExact(kShapes[4]); }
// A short window: each event appended alone makes the tiles it sees anew.
TEST(Engine, EveryTargetIsExactWithALatent) {
  ExpectEveryTargetIsExact({{20}, 0.0, 2, true, 21, 40});
}

TEST(Engine, ACandidateScoresAsIfAlone) {
  uint64_t seed = 20;
  for (const Shape& shape : kShapes) {
    const Model model = ModelOf(shape, ++seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 4, 200);
    EventColumns candidates = MakeColumns(model.spec.tokens.schema);
    const int64_t now_ms =
        *std::max_element(block.events.known_time_ms.begin(), block.events.known_time_ms.end()) + 1;
    for (uint32_t i = 0; i < std::min<size_t>(50, block.events.size()); ++i) {
      AppendEvent(model.spec.tokens.schema, block.events, i, candidates);
      candidates.request_time_ms.back() = now_ms + (i % 7 == 0 ? 500 : 0);
    }
    const size_t n = candidates.size();
    for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
      std::vector<float> alone;
      for (const int64_t rows : {1, 7, 64}) {
        TestEngine engine(model, precision, rows);
        for (uint32_t user = 0; user < block.users(); ++user) {
          ASSERT_TRUE(engine
                          ->Prefill(user, block.events, block.user_offsets[user],
                                    block.user_offsets[user + 1])
                          .ok());
        }
        const std::vector<ScoreRequest> requests = {{0, &candidates, 0, n / 2},
                                                    {1, &candidates, n / 2, n / 2},
                                                    {2, &candidates, n / 4, n},
                                                    {3, &candidates, 0, 1},
                                                    {0, &candidates, n / 2, n}};
        if (alone.empty()) {
          for (const ScoreRequest& request : requests) {
            for (size_t i = request.begin; i < request.end; ++i) {
              const auto one = engine.Score({{request.user, &candidates, i, i + 1}});
              alone.insert(alone.end(), one.begin(), one.end());
            }
          }
        }
        EXPECT_EQ(engine.Score(requests), alone)
            << "seed " << seed << " precision " << PrecisionName(precision) << " rows " << rows;
      }
    }
  }
}

// A request a little older than the newest event is answered from what is kept beyond the window;
// an older one is refused, never answered wrong.
TEST(Engine, LateRequestsAreRightOrRefused) {
  int answered = 0, refused = 0;
  uint64_t seed = 30;
  for (const Shape& shape : kShapes) {
    const Model model = ModelOf(shape, ++seed);
    const UserBlock block = MakeBlock(model.spec.tokens.schema, seed, 1, 900);
    const auto expected = ScoreAll(model, block);
    TestEngine engine(model);
    ASSERT_TRUE(engine->Prefill(0, block.events, 0, block.events.size()).ok());
    for (uint32_t target = 0; target < block.events.size(); ++target) {
      if (block.events.split[target] != Split::kTrain) continue;
      std::vector<float> logits(2);
      const ScoreRequest request = {0, &block.events, target, target + 1};
      const Status status = engine->Score({request}, absl::MakeSpan(logits));
      if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
        ++refused;
        continue;
      }
      ++answered;
      for (size_t t = 0; t < logits.size(); ++t) {
        ASSERT_NEAR(logits[t], expected.at(block.events.event_id[target])[t], kSameLogit)
            << "seed " << seed << " event " << target << " of " << block.events.size();
      }
    }
  }
  EXPECT_GT(answered, 100);
  EXPECT_GT(refused, 100);
}

TEST(Engine, RefusesWhatIsOutOfOrder) {
  const Model model = ModelOf(kShapes[0], 40);
  UserBlock block = MakeBlock(model.spec.tokens.schema, 41, 1, 40);
  while (block.events.size() < 4) block = MakeBlock(model.spec.tokens.schema, 42, 1, 40);
  const auto n = static_cast<uint32_t>(block.events.size());
  block.events.known_time_ms[n - 1] = block.events.known_time_ms[n - 2] + 1;
  TestEngine engine(model);
  EXPECT_EQ(engine->Append(0, block.events, 0, 1).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(engine->Prefill(0, block.events, 0, n).ok());
  const std::vector<float> before = Probe(engine, block, 0);
  const Status status = engine->Append(0, block.events, n - 2, n - 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(engine->Events(0), n);
  EXPECT_EQ(Probe(engine, block, 0), before);
  std::vector<float> logits(2);
  EXPECT_EQ(engine->Score({{5, &block.events, 0, 1}}, absl::MakeSpan(logits)).code(),
            absl::StatusCode::kNotFound);
}

TEST(Engine, UsersWithoutHistoryScoreToo) {
  const Model model = ModelOf(kShapes[0], 50);
  const UserBlock block = MakeBlock(model.spec.tokens.schema, 51, 1, 1);
  const auto expected = ScoreAll(model, block);
  TestEngine engine(model);
  ASSERT_TRUE(engine->Prefill(0, block.events, 0, 0).ok());
  for (const auto& [event, logits] : expected) {
    const std::vector<float> scores = engine.Score({{0, &block.events, 0, 1}});
    for (size_t t = 0; t < logits.size(); ++t) EXPECT_NEAR(scores[t], logits[t], kSameLogit);
  }
}

TEST(Engine, AModelWithoutHistoryNeedsNoCache) {
  const Model model = MakeModel(MakeConfig(), ModelKind::kDlrm, 60);
  const UserBlock block = MakeBlock(model.spec.tokens.schema, 61, 2, 20);
  const auto expected = ScoreAll(model, block);
  TestEngine engine(model);
  for (uint32_t i = 0; i < block.events.size(); ++i) {
    const auto found = expected.find(block.events.event_id[i]);
    if (found == expected.end()) continue;
    const std::vector<float> scores = engine.Score({{0, &block.events, i, i + 1}});
    for (size_t t = 0; t < 2; ++t) EXPECT_NEAR(scores[t], found->second[t], kSameLogit);
  }
}

}  // namespace
}  // namespace grab
