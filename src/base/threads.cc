#include "base/threads.h"

#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace grab {
namespace {

#ifdef __linux__
// The first version of the kernel's sched_attr; its header and newer C libraries' clash.
struct SchedulingAttributes {
  uint32_t size = 48;
  uint32_t policy = SCHED_BATCH;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // the slice, from Linux 6.12 on: a shorter one goes first
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedulingAttributes) == 48);

constexpr uint64_t kLongestSliceNs = 100'000'000;
#endif

}  // namespace

void ParallelFor(int64_t n, int parts, const std::function<void(int, int64_t, int64_t)>& body) {
  parts = static_cast<int>(std::clamp<int64_t>(n, 1, std::max(parts, 1)));
  const auto bound = [&](int part) { return n * part / parts; };
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(parts) - 1);
  for (int part = 1; part < parts; ++part) {
    threads.emplace_back([&, part] { body(part, bound(part), bound(part + 1)); });
  }
  body(0, bound(0), bound(1));
  for (std::thread& thread : threads) thread.join();
}

void LetWakingThreadsPass() {
#ifdef __linux__
  SchedulingAttributes attributes;
  attributes.nice = getpriority(PRIO_PROCESS, 0);
  attributes.runtime_ns = kLongestSliceNs;
  if (syscall(SYS_sched_setattr, 0, &attributes, 0U) == 0) return;
  const sched_param batch{};  // where a sandbox allows only this
  sched_setscheduler(0, SCHED_BATCH, &batch);
#endif
}

void StopLookingForLockCycles() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

int DefaultThreads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace grab
