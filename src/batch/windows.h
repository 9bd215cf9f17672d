// Data-side sliding windows (DESIGN 4, "Streaming windows"): which events of a long user are
// trained together.
#pragma once

#include <cstdint>
#include <vector>

namespace grab {

// Events [begin, end) of a user; those from train_begin on are trained, the earlier ones are
// context.
struct EventWindow {
  uint32_t begin = 0;
  uint32_t train_begin = 0;
  uint32_t end = 0;
};

// Windows over a user's n events with window size S and trained part T (1 <= T <= S), aligned to
// the newest event. Every event is in the trained part of exactly one window. n <= S is one window;
// n = 0 is none.
std::vector<EventWindow> PlanWindows(uint32_t n, uint32_t window_size, uint32_t window_train);

}  // namespace grab
