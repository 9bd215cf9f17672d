// WorkerPool: every worker runs every round once, on a thread that stays the same, and Run returns
// only when all are through; over 1 to 9 workers (the machine has fewer cores) and many rounds, so
// that a worker that misses or repeats a round is seen.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/worker_pool.h"

namespace grab {
namespace {

TEST(WorkerPoolTest, EveryWorkerOncePerRoundOnItsOwnThread) {
  for (const int workers : {1, 2, 3, 9}) {
    SCOPED_TRACE(testing::Message() << workers << " workers");
    WorkerPool pool(workers);
    ASSERT_EQ(pool.threads(), workers);
    std::vector<std::thread::id> ids(static_cast<size_t>(workers));
    pool.Run([&](int w) { ids[static_cast<size_t>(w)] = std::this_thread::get_id(); });
    EXPECT_EQ(ids[0], std::this_thread::get_id());
    std::vector<int> runs(static_cast<size_t>(workers), 0);
    for (int round = 1; round <= 500; ++round) {
      std::atomic<int> elsewhere = 0;
      pool.Run([&](int w) {
        if (ids[static_cast<size_t>(w)] != std::this_thread::get_id()) ++elsewhere;
        ++runs[static_cast<size_t>(w)];
      });
      ASSERT_EQ(elsewhere, 0);
      for (const int count : runs) ASSERT_EQ(count, round);
    }
  }
}

TEST(WorkerPoolTest, ForEachVisitsEveryIndexOnce) {
  WorkerPool pool(3);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{1000}}) {
    std::vector<std::atomic<int>> visits(n);
    pool.ForEach(n, [&](size_t i) { ++visits[i]; });
    for (const std::atomic<int>& count : visits) ASSERT_EQ(count, 1) << n;
  }
}

TEST(WorkerPoolTest, EndsWithoutEverHavingRun) { WorkerPool pool(4); }

}  // namespace
}  // namespace grab
