// Threads that live as long as the pool: work that is dealt out many times a second.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace grab {

class WorkerPool {
 public:
  // `threads` workers, at least 1; worker 0 is the thread that calls Run.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Runs body(worker) once on every worker and waits. One caller at a time, never from a body. A
  // worker is always the same thread, as long as the same thread calls Run.
  void Run(const std::function<void(int)>& body);
  // Runs body(i) once for every i in [0, n), each on whichever worker is free.
  void ForEach(size_t n, const std::function<void(size_t)>& body);

 private:
  void Serve(int worker);

  std::mutex mutex_;
  std::condition_variable begun_, ended_;
  const std::function<void(int)>* body_ = nullptr;
  uint64_t round_ = 0;  // how often Run was called
  int running_ = 0;     // started threads that are still in this round
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace grab
