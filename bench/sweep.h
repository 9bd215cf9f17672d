// Finds a peer's own best settings before it is timed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/process.h"

namespace grab::bench {

struct Choice {
  ProcessSettings process;
  int64_t users = 1;  // computed at once, where users are padded
};

// What there is to choose from. The first of each is where the search starts.
struct Choices {
  std::vector<std::pair<int, int>> threads = {{1, 1}};  // of libtorch and of OpenBLAS
  std::vector<Allocator> allocators = {Allocator::kRaised, Allocator::kHeap, Allocator::kSmall};
  std::vector<int64_t> users = {1};

  static Choices OneThread();
  static Choices TwoThreads();
};

struct Found {
  Choice best;
  std::string summary;  // "PEER: settings; others tried: ..."
};

// Allocators first, then threads, then users, each with the best so far of the others. `run`
// returns the seconds of one call under a choice; per user where there is a choice of users.
Found FindBest(const std::string& peer, const Choices& choices,
               const std::function<double(const Choice&)>& run);

}  // namespace grab::bench
