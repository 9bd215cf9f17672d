// Every event is trained exactly once per pass, for every (n, S, T) up to sizes that cover several
// windows.
#include <gtest/gtest.h>

#include "batch/windows.h"

namespace grab {
namespace {

TEST(PlanWindows, TrainsEveryEventExactlyOnce) {
  for (uint32_t size = 1; size <= 12; ++size) {
    for (uint32_t train = 1; train <= size; ++train) {
      for (uint32_t n = 0; n <= 60; ++n) {
        SCOPED_TRACE(::testing::Message() << "n " << n << " S " << size << " T " << train);
        std::vector<int> trained(n, 0);
        for (const EventWindow& window : PlanWindows(n, size, train)) {
          ASSERT_LE(window.begin, window.train_begin);
          ASSERT_LT(window.train_begin, window.end);
          ASSERT_LE(window.end, n);
          ASSERT_LE(window.end - window.begin, size);
          for (uint32_t i = window.train_begin; i < window.end; ++i) ++trained[i];
        }
        for (const int times : trained) ASSERT_EQ(times, 1);
      }
    }
  }
}

TEST(PlanWindows, AlignsFullWindowsToTheNewestEvent) {
  for (uint32_t n = 9; n <= 60; ++n) {
    const std::vector<EventWindow> windows = PlanWindows(n, 8, 3);
    EXPECT_EQ(windows.back().end, n);
    for (size_t k = 1; k < windows.size(); ++k) {
      EXPECT_EQ(windows[k].end - windows[k].begin, 8u) << "n " << n;
      EXPECT_EQ(windows[k].end - windows[k].train_begin, 3u) << "n " << n;
    }
  }
}

TEST(PlanWindows, FollowsTheFormulaOfTheDesign) {
  // n = 20, S = 8, T = 3: W = floor(12 / 3) + 1 = 5, head = 20 - 15 = 5.
  const std::vector<EventWindow> windows = PlanWindows(20, 8, 3);
  ASSERT_EQ(windows.size(), 6u);
  EXPECT_EQ(windows[0].end, 5u);
  EXPECT_EQ(windows[1].begin, 0u);
  EXPECT_EQ(windows[1].train_begin, 5u);
  EXPECT_EQ(windows[1].end, 8u);
}

TEST(PlanWindows, ShortUserIsOneWindow) {
  EXPECT_TRUE(PlanWindows(0, 8, 3).empty());
  ASSERT_EQ(PlanWindows(8, 8, 3).size(), 1u);
  EXPECT_EQ(PlanWindows(8, 8, 3)[0].train_begin, 0u);
}

}  // namespace
}  // namespace grab
