// Running counts against a recount of all events for every target, on random logs with events of
// one time, late and unknown labels, missing and repeated ids.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "support/base_temp_dir.h"
#include "support/random_world.h"
#include "support/shard_folder.h"
#include "trees/running_counts.h"

namespace grab {
namespace {

constexpr int64_t kForever = std::numeric_limits<int64_t>::max();
constexpr int64_t kBuyDelayMs = 6000;
constexpr size_t kOutcomes = 3;
constexpr double kSmoothing = 3.0;

Config CountsConfig() {
  Config config = testing::MakeConfig();
  config.trees.smoothing = kSmoothing;
  config.tasks[1].delay_s = kBuyDelayMs / 1000;
  config.trees.actions = {"click"};
  return config;
}

std::vector<UserBlock> RandomBlocks(const Schema& schema, uint64_t seed) {
  std::vector<UserBlock> blocks;
  for (uint64_t b = 0; b < 3; ++b) {
    blocks.push_back(testing::MakeBlock(schema, 3 * seed + b, 5, 30));
  }
  return blocks;
}

// One event of the blocks, in the order of the log.
struct Row {
  const EventColumns* events = nullptr;
  size_t index = 0;
  size_t user = 0;

  int64_t request_ms() const { return events->request_time_ms[index]; }
  int64_t known_ms() const { return events->known_time_ms[index]; }
  bool history() const { return events->history[index] != 0; }
  // Outcomes: the tasks click and buy, and the action click, bit 1 of the actions.
  int64_t final_ms(size_t outcome) const {
    return outcome == 1 ? std::max(known_ms(), request_ms() + kBuyDelayMs) : known_ms();
  }
  bool known(size_t outcome) const {
    return ((outcome < 2 ? events->labels_known[index] >> outcome
                         : events->actions_known[index] >> 1) &
            1) != 0;
  }
  bool positive(size_t outcome) const {
    return ((outcome < 2 ? events->labels[index] >> outcome : events->actions[index] >> 1) & 1) !=
           0;
  }
  std::set<uint64_t> Keys(const Counter& counter) const {
    if (counter.field < 0) return {1};
    const FieldColumn& column = events->fields[static_cast<size_t>(counter.field)];
    if (counter.ids) {
      return {column.ids.begin() + column.offsets[index],
              column.ids.begin() + column.offsets[index + 1]};
    }
    if (column.ids[index] == 0) return {};
    return {column.ids[index]};
  }
};

std::vector<Row> RowsOf(const std::vector<UserBlock>& blocks) {
  std::vector<Row> rows;
  size_t users = 0;
  for (const UserBlock& block : blocks) {
    for (size_t user = 0; user < block.users(); ++user, ++users) {
      for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
        rows.push_back({&block.events, i, users});
      }
    }
  }
  return rows;
}

struct Sums {
  double exposures = 0.0;
  double known[kOutcomes] = {};
  double positives[kOutcomes] = {};
};

// How many of `keys` an event has, for every event that counts at `time_ms`: no candidate only.
template <class Matches>
Sums Recount(const std::vector<Row>& rows, int64_t time_ms, const Matches& matches) {
  Sums sums;
  for (const Row& row : rows) {
    if (!row.history()) continue;
    const double times = matches(row);
    if (row.known_ms() < time_ms) sums.exposures += times;
    for (size_t o = 0; o < kOutcomes; ++o) {
      if (row.final_ms(o) >= time_ms || !row.known(o)) continue;
      sums.known[o] += times;
      if (row.positive(o)) sums.positives[o] += times;
    }
  }
  return sums;
}

std::vector<float> NaiveFeatures(const std::vector<Row>& rows, const FeaturePlan& plan,
                                 const Row& target, int64_t until_ms) {
  const int64_t time_ms = std::min(target.request_ms(), until_ms);
  const Sums all = Recount(rows, time_ms, [](const Row&) { return 1.0; });
  std::vector<float> features;
  for (const Counter& counter : plan.counters) {
    const std::set<uint64_t> keys = target.Keys(counter);
    const Sums sums = Recount(rows, time_ms, [&](const Row& row) {
      if (counter.by_user && row.user != target.user) return 0.0;
      double shared = 0.0;
      for (const uint64_t key : row.Keys(counter)) shared += keys.contains(key) ? 1.0 : 0.0;
      return shared;
    });
    const auto add = [&](double value) {
      features.push_back(static_cast<float>(keys.empty() ? NAN : value));
    };
    add(sums.exposures);
    for (size_t o = 0; o < kOutcomes; ++o) {
      const double prior = (all.positives[o] + 1.0) / (all.known[o] + 2.0);
      add(sums.positives[o]);
      add((sums.positives[o] + kSmoothing * prior) / (sums.known[o] + kSmoothing));
    }
  }
  for (const int field : plan.numbers) {
    features.push_back(target.events->fields[static_cast<size_t>(field)].numbers[target.index]);
  }
  int64_t last_ms = -1;
  for (const Row& row : rows) {
    if (row.history() && row.user == target.user && row.known_ms() < time_ms) {
      last_ms = std::max(last_ms, row.known_ms());
    }
  }
  features.push_back(last_ms < 0 ? NAN
                                 : static_cast<float>(target.request_ms() - last_ms) / 1000.0f);
  return features;
}

FeaturePlan PlanOf(const Config& config, const Schema& schema) {
  return *FeaturePlan::Create(config, *TokenSpec::FromConfig(config, schema, 1));
}

EventLog LogOf(const FeaturePlan& plan, const Schema& schema,
               const std::vector<UserBlock>& blocks) {
  const TempDir dir;
  MemoryBudget memory(64);
  return *LoadEventLog(*testing::WriteShards(schema, blocks, dir.path()), plan, memory,
                       NoProgress());
}

void ExpectSame(const float* got, const std::vector<float>& expected,
                const std::vector<std::string>& names) {
  ASSERT_EQ(expected.size(), names.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << names[i] << ": " << got[i];
    } else {
      EXPECT_FLOAT_EQ(got[i], expected[i]) << names[i];
    }
  }
}

TEST(RunningCounts, EqualANaiveRecount) {
  const Config config = CountsConfig();
  const Schema schema = *Schema::FromConfig(config);
  const FeaturePlan plan = PlanOf(config, schema);
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const std::vector<UserBlock> blocks = RandomBlocks(schema, seed);
    const std::vector<Row> rows = RowsOf(blocks);
    const EventLog log = LogOf(plan, schema, blocks);
    ASSERT_EQ(log.size(), rows.size());
    Rng rng(seed);
    std::vector<uint32_t> targets(rows.size());
    for (uint32_t i = 0; i < targets.size(); ++i) targets[i] = i;
    Shuffle(targets, rng);
    const int64_t some_time_ms = rows[rng.Below(rows.size())].request_ms();
    for (const int64_t until_ms : {kForever, some_time_ms}) {
      const std::vector<float> features = RunningFeatures(log, plan, targets, until_ms);
      for (size_t i = 0; i < targets.size(); ++i) {
        ExpectSame(&features[i * plan.columns()],
                   NaiveFeatures(rows, plan, rows[targets[i]], until_ms), plan.names);
        ASSERT_FALSE(HasFailure()) << "event " << targets[i];
      }
    }
  }
}

// Nothing that is known with the feedback, nor any label that is not final before the request, may
// move a feature.
TEST(RunningCounts, DoNotReadTheFuture) {
  const Config config = CountsConfig();
  const Schema schema = *Schema::FromConfig(config);
  const FeaturePlan plan = PlanOf(config, schema);
  const auto behaviour = static_cast<size_t>(schema.FieldIndex("dwell"));
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::vector<UserBlock> blocks = RandomBlocks(schema, seed);
    const std::vector<Row> rows = RowsOf(blocks);
    Rng rng(seed);
    const std::vector<uint32_t> target = {static_cast<uint32_t>(rng.Below(rows.size()))};
    const int64_t request_ms = rows[target[0]].request_ms();
    const std::vector<float> before = RunningFeatures(LogOf(plan, schema, blocks), plan, target);
    for (UserBlock& block : blocks) {
      EventColumns& events = block.events;
      for (size_t i = 0; i < events.size(); ++i) {
        events.fields[behaviour].numbers[i] = static_cast<float>(rng.Uniform());
        if (events.known_time_ms[i] >= request_ms) {
          events.actions_known[i] = static_cast<uint32_t>(rng.Below(4));
          events.actions[i] = events.actions_known[i] & static_cast<uint32_t>(rng.Next());
        }
        for (size_t task = 0; task < 2; ++task) {
          if (Row{&events, i, 0}.final_ms(task) < request_ms) continue;
          const uint32_t bit = uint32_t{1} << task;
          events.labels_known[i] |= bit;
          events.labels[i] = rng.Bernoulli(0.5) ? events.labels[i] | bit : events.labels[i] & ~bit;
        }
      }
    }
    const std::vector<float> after = RunningFeatures(LogOf(plan, schema, blocks), plan, target);
    ExpectSame(after.data(), before, plan.names);
  }
}

TEST(FeaturePlan, ReadsWhatACandidateShows) {
  const Config config = CountsConfig();
  const FeaturePlan plan = PlanOf(config, *Schema::FromConfig(config));
  std::vector<std::string> counters;
  for (const Counter& counter : plan.counters) counters.push_back(counter.name);
  const std::vector<std::string> expected = {"@user",      "ad",   "@user.ad",   "tags",
                                             "@user.tags", "hour", "@user.hour", "user"};
  EXPECT_EQ(counters, expected);
  EXPECT_EQ(plan.numbers, std::vector<int>({2}));
}

TEST(FeaturePlan, NeedsTheTasksAndActionsOfTheData) {
  Config config = CountsConfig();
  const Schema schema = *Schema::FromConfig(config);
  const TokenSpec tokens = *TokenSpec::FromConfig(config, schema, 1);
  config.trees.actions = {"like"};
  Status status = FeaturePlan::Create(config, tokens).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  config = CountsConfig();
  config.tasks.pop_back();
  status = FeaturePlan::Create(config, tokens).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

}  // namespace
}  // namespace grab
