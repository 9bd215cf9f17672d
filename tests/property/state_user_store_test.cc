// The store against a model of it that is a sorted list in memory: order, idempotence, sequence
// numbers, trimming, erasure, offsets; and the same after it is closed and opened again.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "state/user_store.h"
#include "support/colliding_ids.h"
#include "support/state_events.h"

namespace grab {
namespace {

struct NaiveEvent {
  int64_t known_ms;
  uint64_t sequence;
  uint64_t event_id;
};

struct NaiveUser {
  std::vector<NaiveEvent> events;  // by (known_ms, sequence)
  std::set<uint64_t> ids;
  uint64_t sequence = 0;
};

void ExpectSame(const UserStore& store, const std::string& user_id, const NaiveUser& naive) {
  const UserEvents stored = ReadAll(store, user_id);
  ASSERT_EQ(stored.size(), naive.events.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored.columns.known_time_ms[i], naive.events[i].known_ms);
    EXPECT_EQ(stored.sequence[i], naive.events[i].sequence);
    EXPECT_EQ(stored.columns.event_id[i], naive.events[i].event_id);
  }
  const auto state = *store.Find(HashId(user_id));
  ASSERT_EQ(state.has_value(), naive.sequence > 0);
  if (!state.has_value()) return;
  EXPECT_EQ(state->sequence, naive.sequence);
  EXPECT_EQ(state->events, naive.events.size());
  EXPECT_EQ(state->newest_known_ms, naive.events.back().known_ms);
}

class UserStoreTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(UserStoreTest, KeepsWhatASortedListKeeps) {
  const Schema schema = AllKindsSchema();
  Rng rng(GetParam());
  TempDir dir;
  UserStoreOptions options;
  options.dir = dir.File("state");
  options.sync = false;
  std::unique_ptr<UserStore> store = OpenStore(options);
  std::map<std::string, NaiveUser> naive;
  for (int step = 0; step < 150; ++step) {
    const std::string user_id = "user " + std::to_string(rng.Below(5));
    NaiveUser& user = naive[user_id];
    std::vector<int64_t> times;
    for (uint64_t i = 0; i <= rng.Below(6); ++i) {
      times.push_back(static_cast<int64_t>(rng.Below(50)) - 5);  // equal, late, negative
    }
    EventColumns columns = EventsAt(schema, times, 1, rng);
    for (uint64_t& id : columns.event_id) id = 1 + rng.Below(400);  // some come again
    const std::vector<AppendOutcome> outcomes = AppendRows(*store, user_id, columns);
    for (size_t i = 0; i < columns.size(); ++i) {
      const bool added = user.ids.insert(columns.event_id[i]).second;
      ASSERT_EQ(outcomes[i], added ? AppendOutcome::kStored : AppendOutcome::kDuplicate);
      if (!added) continue;
      user.events.push_back({columns.known_time_ms[i], ++user.sequence, columns.event_id[i]});
    }
    std::stable_sort(user.events.begin(), user.events.end(),
                     [](const auto& a, const auto& b) { return a.known_ms < b.known_ms; });
    if (step % 50 == 49) {
      store.reset();
      store = OpenStore(options);
    }
    if (step % 40 == 20) {
      const auto erased = *store->Delete(user_id);
      EXPECT_EQ(erased.value_or(0), user.events.size());
      user = {};
    }
  }
  for (const auto& [user_id, user] : naive) ExpectSame(*store, user_id, user);
}

INSTANTIATE_TEST_SUITE_P(Seeds, UserStoreTest, ::testing::Range(uint64_t{1}, uint64_t{6}));

TEST(UserStoreTest, ReadsTheNewestAfterAPosition) {
  TempDir dir;
  Rng rng(1);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  AppendRows(*store, "u", EventsAt(store->schema(), {10, 20, 20, 30, 40}, 1, rng));
  EXPECT_EQ(ReadAll(*store, "u", 2).columns.known_time_ms, (std::vector<int64_t>{30, 40}));
  UserEvents events;
  events.columns = MakeColumns(store->schema());
  ASSERT_TRUE(store->Read(HashId("u"), EventPosition{20, 2}, 100, events).ok());
  EXPECT_EQ(events.sequence, (std::vector<uint64_t>{3, 4, 5}));
  EXPECT_EQ(ReadAll(*store, "stranger").size(), 0u);
}

TEST(UserStoreTest, LateEventsAreToldApart) {
  TempDir dir;
  Rng rng(2);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  AppendRows(*store, "u", EventsAt(store->schema(), {10, 20, 20}, 1, rng));
  EXPECT_EQ((*store->Find(HashId("u")))->late_sequence, 0u);
  AppendRows(*store, "u", EventsAt(store->schema(), {15, 30}, 10, rng));
  EXPECT_EQ((*store->Find(HashId("u")))->late_sequence, 4u);
}

TEST(UserStoreTest, TrimsTheOldestAndRefusesWhatIsOlderStill) {
  TempDir dir;
  Rng rng(3);
  const std::unique_ptr<UserStore> store =
      OpenStore({.dir = dir.File("state"), .events_max = 16, .sync = false});
  for (int64_t i = 0; i < 40; ++i) {
    AppendRows(*store, "u",
               EventsAt(store->schema(), {100 + i}, 1 + static_cast<uint64_t>(i), rng));
    EXPECT_LE(ReadAll(*store, "u").size(), 19u);
  }
  const auto state = *store->Find(HashId("u"));
  ASSERT_TRUE(state->trimmed_known_ms.has_value());
  EXPECT_EQ(state->sequence, 40u);
  EXPECT_EQ(ReadAll(*store, "u").columns.known_time_ms.front(), *state->trimmed_known_ms + 1);
  // The first event again: its id is forgotten with it, but it is too old to be a new one.
  EXPECT_EQ(AppendRows(*store, "u", EventsAt(store->schema(), {100}, 1, rng)).front(),
            AppendOutcome::kTooOld);
  EXPECT_EQ(AppendRows(*store, "u", EventsAt(store->schema(), {139}, 40, rng)).front(),
            AppendOutcome::kDuplicate);
}

TEST(UserStoreTest, TrimsByAge) {
  TempDir dir;
  Rng rng(4);
  const std::unique_ptr<UserStore> store =
      OpenStore({.dir = dir.File("state"), .age_max_s = 10, .sync = false});
  for (int64_t i = 0; i < 64; ++i) {
    AppendRows(*store, "u",
               EventsAt(store->schema(), {i * 1000}, 1 + static_cast<uint64_t>(i), rng));
  }
  // At the 64th arrival those more than 10 s behind it went, but for the one that was just written.
  EXPECT_EQ(ReadAll(*store, "u").columns.known_time_ms.front(), 53000);
}

TEST(UserStoreTest, OffsetsGoWithTheEvents) {
  TempDir dir;
  Rng rng(5);
  UserStoreOptions options;
  options.dir = dir.File("state");
  std::unique_ptr<UserStore> store = OpenStore(options);
  const EventColumns columns = EventsAt(store->schema(), {1}, 1, rng);
  const NewEvent event{"u", "", &columns, 0};
  AppendOutcome outcome;
  SourceOffsets offsets{"clicks", {{0, 7}, {12, 9}}};
  ASSERT_TRUE(store->AppendAll({&event, 1}, {&outcome, 1}, &offsets).ok());
  // Offsets of what was seen before move on alone.
  offsets.next = {{0, 8}};
  ASSERT_TRUE(store->AppendAll({&event, 1}, {&outcome, 1}, &offsets).ok());
  EXPECT_EQ(outcome, AppendOutcome::kDuplicate);
  store.reset();
  store = OpenStore(options);
  EXPECT_EQ(*store->Offsets("clicks"), (std::map<int32_t, int64_t>{{0, 8}, {12, 9}}));
  EXPECT_TRUE(store->Offsets("click")->empty());
}

TEST(UserStoreTest, ABatchMixesUsers) {
  TempDir dir;
  Rng rng(6);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  const EventColumns columns = EventsAt(store->schema(), {10, 20, 30, 40, 50}, 1, rng);
  const std::vector<NewEvent> events = {{"a", "", &columns, 0}, {"b", "", &columns, 1},
                                        {"a", "", &columns, 2}, {"b", "", &columns, 1},
                                        {"c", "", &columns, 3}, {"a", "", &columns, 4}};
  std::vector<AppendOutcome> outcomes(events.size());
  ASSERT_TRUE(store->AppendAll(events, absl::MakeSpan(outcomes)).ok());
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(outcomes[i], i == 3 ? AppendOutcome::kDuplicate : AppendOutcome::kStored) << i;
  }
  EXPECT_EQ(ReadAll(*store, "a").columns.known_time_ms, (std::vector<int64_t>{10, 30, 50}));
  EXPECT_EQ(ReadAll(*store, "b").columns.known_time_ms, (std::vector<int64_t>{20}));
  EXPECT_EQ(ReadAll(*store, "c").columns.known_time_ms, (std::vector<int64_t>{40}));
}

// A user is found by the hash of its id, so the id itself has to be looked at: the second of two
// with one hash is refused, not mixed with the first, and nothing that names it reaches the first.
TEST(UserStoreTest, TwoIdsOfOneHashAreNotOneUser) {
  TempDir dir;
  Rng rng(1);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  const EventColumns columns = EventsAt(store->schema(), {10, 20}, 1, rng);
  const auto [first, second] = testing::CollidingIds();
  ASSERT_NE(first, second);
  ASSERT_EQ(HashId(first), HashId(second));
  const NewEvent of_first = {first, "", &columns, 0}, of_second = {second, "", &columns, 1};
  const auto append = [&](std::vector<NewEvent> events) {
    std::vector<AppendOutcome> outcomes(events.size());
    return store->AppendAll(events, absl::MakeSpan(outcomes));
  };
  EXPECT_TRUE(absl::IsInvalidArgument(append({of_first, of_second})));  // neither is known yet
  EXPECT_FALSE(store->Find(first)->has_value());
  ASSERT_TRUE(append({of_first}).ok());
  const Status refused = append({of_second});
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_FALSE(absl::StrContains(refused.message(), "xxx")) << refused;  // of either id
  EXPECT_FALSE(store->Find(second)->has_value());
  EXPECT_EQ(*store->Delete(second), std::nullopt);
  ASSERT_TRUE(store->Find(first)->has_value());
  EXPECT_EQ(ReadAll(*store, first).columns.known_time_ms, (std::vector<int64_t>{10}));
}

TEST(UserStoreTest, WritersOfOneUserTakeTurns) {
  TempDir dir;
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  constexpr uint64_t kThreads = 4, kEach = 100;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&store, t] {
      Rng rng(t);
      for (uint64_t i = 0; i < kEach; ++i) {
        // Every event is sent by two threads.
        const uint64_t id = 1 + i + (t / 2) * kEach;
        AppendRows(*store, "u",
                   EventsAt(store->schema(), {static_cast<int64_t>(rng.Below(1000))}, id, rng));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  UserEvents events = ReadAll(*store, "u");
  ASSERT_EQ(events.size(), kThreads / 2 * kEach);
  std::sort(events.sequence.begin(), events.sequence.end());
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events.sequence[i], i + 1);
}

}  // namespace
}  // namespace grab
