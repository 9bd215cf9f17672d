// Writes events of many requests with one sync: what arrives while a write is under way goes with
// the next.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"
#include "ranking/ranker.h"
#include "state/user_store.h"
#include "wire/wire_reader.h"

namespace grab {

struct ObserveWriterOptions {
  size_t queue_events_max = 65536;  // more are refused at once
  size_t write_events_max = 8192;   // of one write
};

class ObserveWriter {
 public:
  // The events and their outcomes, once they are durable, or why none of them is.
  using Done =
      std::function<void(const Status&, const WireEvents&, absl::Span<const AppendOutcome>)>;

  // `store` and `ranker`, which is told of users with new events, must outlive it.
  ObserveWriter(const ObserveWriterOptions& options, UserStore& store, Ranker& ranker);
  ~ObserveWriter();  // writes what is queued
  ObserveWriter(const ObserveWriter&) = delete;
  ObserveWriter& operator=(const ObserveWriter&) = delete;

  // Calls `done` once, from another thread unless it refuses: RESOURCE_EXHAUSTED past the queue's
  // bound.
  void Submit(WireEvents events, Done done);

  size_t queued_events() const;

 private:
  struct Queued {
    WireEvents events;
    Done done;
  };
  Status Admit(size_t events) const;
  void Loop();
  std::vector<Queued> Take();  // empty: stop
  void Write(std::vector<Queued> batch);

  const ObserveWriterOptions options_;
  UserStore& store_;
  Ranker& ranker_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Queued> queue_;
  size_t queued_events_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace grab
