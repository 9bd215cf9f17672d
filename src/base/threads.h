// Splitting work over threads, outside the kernels.
#pragma once

#include <cstdint>
#include <functional>

namespace grab {

// Runs body(part, begin, end) for `parts` contiguous parts of [0, n), one thread each (the caller's
// included), and waits. The split depends only on n and parts, so a result that is summed by part
// is the same on every run.
void ParallelFor(int64_t n, int parts, const std::function<void(int, int64_t, int64_t)>& body);

// Threads to use when the user names none: the machine's, at least 1.
int DefaultThreads();

}  // namespace grab
