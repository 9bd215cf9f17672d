// Splitting work over threads, outside the kernels.
#pragma once

#include <cstdint>
#include <functional>

namespace grab {

// Runs body(part, begin, end) for `parts` contiguous parts of [0, n), one thread each (the caller's
// included), and waits. The split depends only on n and parts, so a result that is summed by part
// is the same on every run.
void ParallelFor(int64_t n, int parts, const std::function<void(int, int64_t, int64_t)>& body);

// For the calling thread, which computes for milliseconds on end: threads that wake up, to read or
// to answer a request, run before it; its share of the time stays what it was. Linux only, and as
// far as its version allows.
void LetWakingThreadsPass();

// Debian's Abseil looks for cycles whenever a lock is taken, gRPC's locks included. For the whole
// process, as it starts.
void StopLookingForLockCycles();

// Threads to use when the user names none: the machine's, at least 1.
int DefaultThreads();

}  // namespace grab
