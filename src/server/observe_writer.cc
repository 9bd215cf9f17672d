#include "server/observe_writer.h"

#include "base/hash.h"

namespace grab {

ObserveWriter::ObserveWriter(const ObserveWriterOptions& options, UserStore& store, Ranker& ranker)
    : options_(options), store_(store), ranker_(ranker), thread_([this] { Loop(); }) {}

ObserveWriter::~ObserveWriter() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

size_t ObserveWriter::queued_events() const {
  const std::scoped_lock lock(mutex_);
  return queued_events_;
}

Status ObserveWriter::Admit(size_t events) const {
  if (stop_) return absl::UnavailableError("the server is stopping");
  if (queued_events_ == 0 || queued_events_ + events <= options_.queue_events_max) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("past capacity: ", queued_events_, " events wait to be written"));
}

void ObserveWriter::Submit(WireEvents events, Done done) {
  std::unique_lock lock(mutex_);
  const Status admitted = Admit(events.size());
  if (!admitted.ok()) {
    lock.unlock();
    return done(admitted, events, {});
  }
  queued_events_ += events.size();
  queue_.push_back({std::move(events), std::move(done)});
  lock.unlock();
  wake_.notify_one();
}

void ObserveWriter::Loop() {
  while (true) {
    std::vector<Queued> batch = Take();
    if (batch.empty()) return;
    Write(std::move(batch));
  }
}

std::vector<ObserveWriter::Queued> ObserveWriter::Take() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
  std::vector<Queued> batch;
  size_t events = 0;
  while (!queue_.empty() &&
         (batch.empty() || events + queue_.front().events.size() <= options_.write_events_max)) {
    events += queue_.front().events.size();
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_events_ -= events;
  return batch;
}

void ObserveWriter::Write(std::vector<Queued> batch) {
  std::vector<NewEvent> events;
  for (const Queued& queued : batch) {
    for (size_t row = 0; row < queued.events.size(); ++row) events.push_back(queued.events.At(row));
  }
  std::vector<AppendOutcome> outcomes(events.size());
  const Status status = store_.AppendAll(events, absl::MakeSpan(outcomes));
  if (batch.size() > 1 && (absl::IsInvalidArgument(status) || absl::IsDataLoss(status))) {
    // One user's trouble is not that of the other requests.
    for (Queued& queued : batch) {
      std::vector<Queued> alone;
      alone.push_back(std::move(queued));
      Write(std::move(alone));
    }
    return;
  }
  size_t at = 0;
  for (const Queued& queued : batch) {
    const auto own = absl::MakeConstSpan(outcomes).subspan(at, queued.events.size());
    at += own.size();
    for (size_t row = 0; status.ok() && row < own.size(); ++row) {
      if (own[row] == AppendOutcome::kStored) ranker_.Notify(HashId(queued.events.user_id[row]));
    }
    queued.done(status, queued.events, status.ok() ? own : absl::Span<const AppendOutcome>());
  }
}

}  // namespace grab
