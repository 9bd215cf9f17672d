// Faults of a machine that a test turns on and off in a process with faulty_machine.cc preloaded: a
// disk whose syncs take long, a wall clock that jumps.
#pragma once

#include <atomic>
#include <cstdint>

namespace grab {

// What the file that kMachineFaultsEnv names holds; both processes map it.
struct MachineFaults {
  std::atomic<int64_t> sync_delay_ms;
  std::atomic<int64_t> clock_offset_ms;
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

inline constexpr char kMachineFaultsEnv[] = "GRAB_TEST_MACHINE_FAULTS";

}  // namespace grab
