// Passes over memory, split over threads: what the machine's bandwidth is measured with.
#pragma once

#include <cstdint>
#include <vector>

namespace grab::bench {

// Sums `passes` times over an array of `bytes`.
class MemoryRead {
 public:
  MemoryRead(int64_t bytes, int64_t passes, int threads);
  void Run();
  double bytes() const;  // read per Run

 private:
  std::vector<uint64_t> words_;
  int64_t passes_;
  int threads_;
  uint64_t sum_ = 0;
};

// Copies one array of `bytes` to another.
class MemoryCopy {
 public:
  MemoryCopy(int64_t bytes, int threads);
  void Run();
  double bytes() const;  // read and written per Run

 private:
  std::vector<char> from_, to_;
  int threads_;
};

}  // namespace grab::bench
