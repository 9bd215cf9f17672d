#include "base/worker_pool.h"

#include <atomic>

#include "base/check.h"

namespace grab {

WorkerPool::WorkerPool(int threads) {
  GRAB_CHECK(threads >= 1);
  for (int worker = 1; worker < threads; ++worker) {
    threads_.emplace_back([this, worker] { Serve(worker); });
  }
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begun_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Run(const std::function<void(int)>& body) {
  {
    const std::lock_guard lock(mutex_);
    GRAB_CHECK(running_ == 0);
    body_ = &body;
    running_ = static_cast<int>(threads_.size());
    ++round_;
  }
  begun_.notify_all();
  body(0);
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return running_ == 0; });
}

void WorkerPool::ForEach(size_t n, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next = 0;
  Run([&](int) {
    for (size_t i = next++; i < n; i = next++) body(i);
  });
}

void WorkerPool::Serve(int worker) {
  uint64_t served = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    begun_.wait(lock, [&] { return stop_ || round_ != served; });
    if (stop_) return;
    served = round_;
    const std::function<void(int)>& body = *body_;
    lock.unlock();
    body(worker);
    lock.lock();
    if (--running_ == 0) ended_.notify_one();
  }
}

}  // namespace grab
