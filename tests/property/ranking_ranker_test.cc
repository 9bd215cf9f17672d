// The ranker against the whole-timeline forward, which shares tokeniser and tables with it but no
// cache, no store and no engine: every request of random timelines, ranked when exactly the events
// known before it are stored, with users in random order, a cache too small for all of them, and
// models that are swapped in between. Probabilities of f32 agree to 3e-5: logits agree to 1e-4 at
// worst (serve_engine_test), and a sigmoid's slope is at most 1/4.
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <map>

#include "base/clock.h"
#include "base/hash.h"
#include "ranking/ranker.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;
using testing::ScoreAll;

constexpr double kSameProbability = 3e-5;

std::shared_ptr<const ServedModel> Served(uint64_t seed, uint64_t step) {
  LoadedModel loaded;
  loaded.model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
  loaded.step = step;
  loaded.dir = "in memory";
  return *MakeServedModel(std::move(loaded));
}

class World {
 public:
  World(const RankerOptions& options, uint64_t seed, int users, int events)
      : block_(MakeBlock(Served(1, 1)->spec().tokens.schema, seed, users, events)) {
    const Schema schema = Served(1, 1)->spec().tokens.schema;
    store_ = *UserStore::Open({.dir = dir_.File("state"), .sync = false}, schema);
    ranker_ = *Ranker::Create(options, *store_);
  }

  Ranker& ranker() { return *ranker_; }
  UserStore& store() { return *store_; }
  const UserBlock& block() const { return block_; }

  // No two times alike.
  void SpreadTimes() {
    for (size_t row = 0; row < block_.events.size(); ++row) {
      block_.events.request_time_ms[row] += static_cast<int64_t>(row);
      block_.events.known_time_ms[row] += static_cast<int64_t>(row);
    }
  }

  void Observe(uint32_t user, size_t row) {
    const NewEvent event{block_.user_id[user], "", &block_.events, row};
    AppendOutcome outcome;
    ASSERT_TRUE(store_->AppendAll({&event, 1}, {&outcome, 1}).ok());
    ASSERT_EQ(outcome, AppendOutcome::kStored);
    ranker_->Notify(HashId(block_.user_id[user]));
  }

  std::future<RankResult> Rank(uint32_t user, size_t row, SteadyTime deadline = SteadyTime::max(),
                               std::function<bool()> cancelled = nullptr) {
    RankJob job;
    job.user = HashId(block_.user_id[user]);
    job.candidates = MakeColumns(store_->schema());
    AppendEvent(store_->schema(), block_.events, row, job.candidates);
    job.deadline = deadline;
    job.cancelled = std::move(cancelled);
    const auto promise = std::make_shared<std::promise<RankResult>>();
    job.done = [promise](RankResult result) { promise->set_value(std::move(result)); };
    ranker_->Submit(std::move(job));
    return promise->get_future();
  }

 private:
  TempDir dir_;
  UserBlock block_;
  std::unique_ptr<UserStore> store_;
  std::unique_ptr<Ranker> ranker_;
};

// A request or an event of the log, in the order in which a server meets them.
struct Step {
  int64_t time_ms;
  bool is_event;  // requests of a time come before what becomes known at it
  uint32_t user;
  uint32_t row;
};

std::vector<Step> StepsOf(const UserBlock& block) {
  std::vector<Step> steps;
  for (uint32_t user = 0; user < block.users(); ++user) {
    for (uint32_t row = block.user_offsets[user]; row < block.user_offsets[user + 1]; ++row) {
      steps.push_back({block.events.known_time_ms[row], true, user, row});
      if (block.events.split[row] == Split::kTrain) {
        steps.push_back({block.events.request_time_ms[row], false, user, row});
      }
    }
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::pair(a.time_ms, a.is_event) < std::pair(b.time_ms, b.is_event);
  });
  return steps;
}

void ExpectScores(const RankResult& result, const std::vector<float>& logits) {
  ASSERT_TRUE(result.status.ok()) << result.status;
  ASSERT_EQ(result.probabilities.size(), logits.size());
  for (size_t t = 0; t < logits.size(); ++t) {
    EXPECT_NEAR(result.probabilities[t], 1.0 / (1.0 + std::exp(-double(logits[t]))),
                kSameProbability);
  }
}

class RankerTest : public ::testing::TestWithParam<int> {};  // workers

TEST_P(RankerTest, RanksAsTheWholeTimelineForward) {
  const std::shared_ptr<const ServedModel> models[] = {Served(1, 1), Served(2, 2)};
  RankerOptions options;
  options.workers = GetParam();
  options.queue_wait_max_s = 60.0;
  // Room for a few users of the eight.
  options.cache_bytes =
      static_cast<size_t>(options.workers) * 3 * Engine::BytesOfOneUser(*models[0]->packed);
  World world(options, 5, 8, 40);
  std::map<uint64_t, std::map<uint64_t, std::vector<float>>> expected;  // by step, event
  for (const auto& model : models) {
    expected[model->loaded.step] = ScoreAll(model->loaded.model, world.block());
  }
  ASSERT_TRUE(world.ranker().SetModel(0, models[0]).ok());
  size_t ranked = 0, done = 0;
  const std::vector<Step> steps = StepsOf(world.block());
  for (const Step& step : steps) {
    if (++done % (steps.size() / 5) == 0) {
      ASSERT_TRUE(world.ranker().SetModel(0, models[done % 2]).ok());
    }
    if (step.is_event) {
      world.Observe(step.user, step.row);
      continue;
    }
    const RankResult result = world.Rank(step.user, step.row).get();
    ASSERT_NE(result.model, nullptr);
    ExpectScores(result,
                 expected[result.model->loaded.step][world.block().events.event_id[step.row]]);
    ++ranked;
  }
  EXPECT_GT(ranked, 50u);
  const RankerStats stats = world.ranker().Stats();
  EXPECT_GT(stats.prefills, 8u);
  EXPECT_GT(stats.extensions, 8u);
}

// After all events are stored: requests of the past, many at a time, so that they share batches.
TEST_P(RankerTest, RanksThePast) {
  RankerOptions options;
  options.workers = GetParam();
  options.queue_wait_max_s = 60.0;
  options.batch_candidates_max = 16;
  World world(options, 6, 6, 60);
  const auto model = Served(3, 1);
  ASSERT_TRUE(world.ranker().SetModel(0, model).ok());
  auto expected = ScoreAll(model->loaded.model, world.block());
  const std::vector<Step> steps = StepsOf(world.block());
  for (const Step& step : steps) {
    if (step.is_event) world.Observe(step.user, step.row);
  }
  std::vector<std::pair<uint32_t, std::future<RankResult>>> results;
  for (const Step& step : steps) {
    if (!step.is_event) results.emplace_back(step.row, world.Rank(step.user, step.row));
  }
  ASSERT_GT(results.size(), 50u);
  for (auto& [row, result] : results) {
    ExpectScores(result.get(), expected[world.block().events.event_id[row]]);
  }
}

// One user under many requests at once, while its history grows: idle workers score for the busy
// one, and never from a history that lacks what was stored.
TEST(RankerTest, WorkersHelpEachOther) {
  RankerOptions options;
  options.workers = 3;
  options.queue_wait_max_s = 60.0;
  options.batch_candidates_max = 1;
  World world(options, 11, 1, 80);
  world.SpreadTimes();
  const auto model = Served(6, 1);
  ASSERT_TRUE(world.ranker().SetModel(0, model).ok());
  auto expected = ScoreAll(model->loaded.model, world.block());
  size_t ranked = 0;
  const auto rank_at_once = [&](const Step& request) {
    std::vector<std::future<RankResult>> results;
    for (int i = 0; i < 40; ++i) results.push_back(world.Rank(request.user, request.row));
    for (auto& result : results) {
      ExpectScores(result.get(), expected[world.block().events.event_id[request.row]]);
      ++ranked;
    }
  };
  constexpr uint64_t kHelped = 10;
  constexpr double kWait_s = 60.0;  // on a busy machine the others may take long to wake up
  const Stopwatch watch;
  for (const Step& step : StepsOf(world.block())) {
    if (step.is_event) {
      world.Observe(step.user, step.row);
      continue;
    }
    do {
      rank_at_once(step);
    } while (world.ranker().Stats().helped <= kHelped && watch.Seconds() < kWait_s);
  }
  EXPECT_GT(ranked, 200u);
  EXPECT_GT(world.ranker().Stats().helped, kHelped);
}

INSTANTIATE_TEST_SUITE_P(Workers, RankerTest, ::testing::Values(1, 3));

TEST(RankerTest, LateEventsAndErasureAreSeen) {
  World world({.queue_wait_max_s = 60.0}, 7, 1, 40);
  world.SpreadTimes();  // equal times keep the order of arrival, which is another one here
  const auto model = Served(4, 1);
  ASSERT_TRUE(world.ranker().SetModel(0, model).ok());
  const UserBlock& block = world.block();
  const auto last = static_cast<uint32_t>(block.events.size() - 1);
  // The last row is the request; the others arrive newest first, and it is ranked in between.
  for (uint32_t row = last; row-- > 0;) {
    world.Observe(0, row);
    ASSERT_TRUE(world.Rank(0, last).get().status.ok());
  }
  world.Observe(0, last);
  auto expected = ScoreAll(model->loaded.model, block);
  if (block.events.split[last] == Split::kTrain) {
    ExpectScores(world.Rank(0, last).get(), expected[block.events.event_id[last]]);
  }
  const RankResult before = world.Rank(0, last).get();
  ASSERT_TRUE(world.store().Delete(block.user_id[0])->has_value());
  world.ranker().Forget(HashId(block.user_id[0]));
  const RankResult after = world.Rank(0, last).get();
  EXPECT_EQ(after.history.sequence, 0u);
  EXPECT_NE(after.probabilities, before.probabilities);
}

TEST(RankerTest, RefusesAndDropsWhatItCannotServe) {
  World world({.queue_candidates_max = 4, .queue_wait_max_s = 1e-6}, 8, 2, 20);
  EXPECT_TRUE(absl::IsUnavailable(world.Rank(0, 0).get().status));  // no model
  ASSERT_TRUE(world.ranker().SetModel(0, Served(5, 1)).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      world.Rank(0, 0, std::chrono::steady_clock::now() - std::chrono::seconds(1)).get().status));
  EXPECT_TRUE(
      absl::IsCancelled(world.Rank(0, 0, SteadyTime::max(), [] { return true; }).get().status));
  ASSERT_TRUE(world.Rank(0, 0).get().status.ok());
  // A burst past the bound of a microsecond's wait: some are refused, the rest are ranked.
  std::vector<std::future<RankResult>> results;
  for (int i = 0; i < 300; ++i) results.push_back(world.Rank(0, 0));
  int ok = 0, refused = 0;
  for (auto& result : results) {
    const Status status = result.get().status;
    ++(status.ok() ? ok : refused);
    EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
  }
  EXPECT_GT(ok, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(world.ranker().Stats().refused, static_cast<uint64_t>(refused));
}

// Users that are not cached, with any wait at all taken for pressure: those that others wait behind
// are read short, one that comes alone never is.
TEST(RankerTest, ReadsShortOnlyWhileOthersWait) {
  constexpr uint32_t kUsers = 16;
  constexpr uint64_t kShort = 4;
  World world({.queue_wait_max_s = 60.0, .degraded_from = 1e-9, .degraded_events = kShort}, 10,
              2 * kUsers, 30);
  ASSERT_TRUE(world.ranker().SetModel(0, Served(7, 1)).ok());
  const UserBlock& block = world.block();
  for (uint32_t user = 0; user < block.users(); ++user) {
    for (uint32_t row = block.user_offsets[user]; row < block.user_offsets[user + 1]; ++row) {
      world.Observe(user, row);
    }
  }
  const auto rank = [&](uint32_t user) {
    return world.Rank(user, block.user_offsets[user + 1] - 1);
  };
  for (uint32_t user = 0; user < kUsers; ++user) {
    const RankResult alone = rank(user).get();
    ASSERT_TRUE(alone.status.ok()) << alone.status;
    EXPECT_FALSE(alone.history.degraded) << user;
  }
  std::vector<std::future<RankResult>> burst;
  for (uint32_t user = kUsers; user < block.users(); ++user) burst.push_back(rank(user));
  uint64_t degraded = 0;
  for (auto& result : burst) {
    const RankResult in_burst = result.get();
    ASSERT_TRUE(in_burst.status.ok()) << in_burst.status;
    if (!in_burst.history.degraded) continue;
    ++degraded;
    EXPECT_LE(in_burst.history.events_read, kShort);
  }
  EXPECT_GT(degraded, 0u);
  EXPECT_EQ(world.ranker().Stats().degraded_answers, degraded);
  // Read in full as soon as there is time.
  for (uint32_t user = kUsers; user < block.users(); ++user) {
    EXPECT_FALSE(rank(user).get().history.degraded) << user;
  }
}

TEST(RankerTest, RefusesAModelOfAnotherSchema) {
  World world({}, 9, 1, 5);
  Config config = MakeConfig();
  config.actions.pop_back();
  for (ChannelConfig& channel : config.grab.model.channels) {
    if (!channel.actions.empty()) channel.actions = {"buy"};
  }
  LoadedModel loaded;
  loaded.model = MakeModel(config, ModelKind::kGrab, 1);
  const Status status = world.ranker().SetModel(0, *MakeServedModel(std::move(loaded)));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

}  // namespace
}  // namespace grab
