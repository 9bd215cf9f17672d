#include "bench/bandwidth.h"

#include <atomic>
#include <cstring>

#include "base/threads.h"

namespace grab::bench {
namespace {

// Vectors as wide as the machine has; several sums, so that no addition waits for the one before.
__attribute__((target_clones("avx512f", "avx2", "default"))) uint64_t Sum(const uint64_t* words,
                                                                          int64_t n) {
  constexpr int64_t kLanes = 64;
  uint64_t sums[kLanes] = {};
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += words[i + lane];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

}  // namespace

MemoryRead::MemoryRead(int64_t bytes, int64_t passes, int threads)
    : words_(static_cast<size_t>(bytes / 8), 1), passes_(passes), threads_(threads) {}

void MemoryRead::Run() {
  std::atomic<uint64_t> sum = 0;
  ParallelFor(static_cast<int64_t>(words_.size()), threads_, [&](int, int64_t begin, int64_t end) {
    for (int64_t pass = 0; pass < passes_; ++pass) sum += Sum(words_.data() + begin, end - begin);
  });
  sum_ += sum;
}

double MemoryRead::bytes() const {
  return static_cast<double>(passes_) * static_cast<double>(words_.size()) * 8;
}

MemoryCopy::MemoryCopy(int64_t bytes, int threads)
    : from_(static_cast<size_t>(bytes), 1), to_(static_cast<size_t>(bytes), 2), threads_(threads) {}

void MemoryCopy::Run() {
  ParallelFor(static_cast<int64_t>(from_.size()), threads_, [&](int, int64_t begin, int64_t end) {
    std::memcpy(to_.data() + begin, from_.data() + begin, static_cast<size_t>(end - begin));
  });
}

double MemoryCopy::bytes() const { return 2.0 * static_cast<double>(from_.size()); }

}  // namespace grab::bench
