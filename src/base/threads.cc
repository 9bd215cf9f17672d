#include "base/threads.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace grab {

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

int DefaultThreads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace grab
