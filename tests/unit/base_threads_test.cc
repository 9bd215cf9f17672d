// ParallelFor over counts around the number of parts, and parts around and far beyond the machine's
// cores.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/threads.h"

namespace grab {
namespace {

TEST(LetWakingThreadsPassTest, ChangesTheCallingThreadAlone) {
  const int before = sched_getscheduler(0);
  std::thread computing([] {
    LetWakingThreadsPass();
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  });
  computing.join();
  EXPECT_EQ(sched_getscheduler(0), before);
}

TEST(ParallelForTest, EveryIndexOnceInContiguousBalancedParts) {
  for (const int64_t n : {1, 2, 3, 7, 8, 9, 63, 64, 65, 1000}) {
    for (const int parts : {1, 2, 3, 8, 33}) {
      SCOPED_TRACE(testing::Message() << "n=" << n << " parts=" << parts);
      std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
      std::mutex mutex;
      std::set<std::tuple<int, int64_t, int64_t>> seen;
      ParallelFor(n, parts, [&](int part, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        const std::lock_guard<std::mutex> lock(mutex);
        seen.emplace(part, begin, end);
      });
      for (const std::atomic<int>& count : visits) ASSERT_EQ(count.load(), 1);
      ASSERT_EQ(seen.size(), static_cast<size_t>(std::min<int64_t>(n, parts)));
      int64_t expected_begin = 0;
      int expected_part = 0;
      for (const auto& [part, begin, end] : seen) {
        EXPECT_EQ(part, expected_part++);
        EXPECT_EQ(begin, expected_begin);
        const int64_t share = n / static_cast<int64_t>(seen.size());
        EXPECT_GE(end - begin, share);
        EXPECT_LE(end - begin, share + 1);
        expected_begin = end;
      }
      EXPECT_EQ(expected_begin, n);
    }
  }
}

// Fewer than one part, or nothing to do, is still one call on the caller's thread.
TEST(ParallelForTest, DegenerateArgumentsRunOnceOnTheCaller) {
  const std::thread::id caller = std::this_thread::get_id();
  for (const auto& [n, parts] :
       std::vector<std::pair<int64_t, int>>{{0, 4}, {5, 0}, {5, -3}, {5, 1}}) {
    SCOPED_TRACE(testing::Message() << "n=" << n << " parts=" << parts);
    int calls = 0;
    ParallelFor(n, parts, [&, n = n](int part, int64_t begin, int64_t end) {
      ++calls;
      EXPECT_EQ(part, 0);
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, n);
      EXPECT_EQ(std::this_thread::get_id(), caller);
    });
    EXPECT_EQ(calls, 1);
  }
}

// Each part on a thread of its own: with a barrier inside the body, fewer threads than parts would
// never finish.
TEST(ParallelForTest, PartsRunAtTheSameTime) {
  const int parts = 4;
  std::atomic<int> arrived{0};
  ParallelFor(parts, parts, [&](int, int64_t, int64_t) {
    ++arrived;
    while (arrived.load() < parts) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), parts);
}

TEST(DefaultThreadsTest, AtLeastOne) { EXPECT_GE(DefaultThreads(), 1); }

}  // namespace
}  // namespace grab
