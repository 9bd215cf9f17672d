#include "batch/windows.h"

#include "base/check.h"

namespace grab {

std::vector<EventWindow> PlanWindows(uint32_t n, uint32_t window_size, uint32_t window_train) {
  GRAB_CHECK(window_train >= 1 && window_train <= window_size);
  if (n == 0) return {};
  if (n <= window_size) return {{0, 0, n}};
  const uint32_t sliding = (n - window_size) / window_train + 1;
  const uint32_t head = n - sliding * window_train;
  std::vector<EventWindow> windows;
  windows.reserve(sliding + 1);
  if (head > 0) windows.push_back({0, 0, head});
  for (uint32_t k = 1; k <= sliding; ++k) {
    const uint32_t end = head + k * window_train;
    windows.push_back({end - window_size, end - window_train, end});
  }
  return windows;
}

}  // namespace grab
