// Ranks requests on worker threads. Users are dealt out to workers by hash; each worker owns a
// cache and one engine per model, so that no lock is taken while scoring. A worker that has nothing
// to do scores for others.
//
// Admission: a request that would have to wait longer than `queue_wait_max_s`, by what candidates
// cost of late, is refused at once. Under pressure, past `degraded_from` of that, a user that is
// not cached is read only as far as its newest `degraded_events`.
//
// After an acknowledged append, Rank sees the event, whether or not it was notified: workers
// compare with the store. Notify makes them do so ahead of the request.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "ranking/rank_job.h"

namespace grab {

struct RankerOptions {
  int workers = 1;
  size_t cache_bytes = size_t{1} << 30;  // of keys and values, over all workers
  // Of a micro-batch. The engine computes kMicroBatchRows at a time: a larger batch only makes the
  // first of its requests wait for the last.
  int64_t batch_candidates_max = kMicroBatchRows;
  double batch_wait_s = 0.0;            // that a request waits for others to join it
  size_t queue_candidates_max = 65536;  // per worker
  double queue_wait_max_s = 0.1;
  double degraded_from = 0.5;
  uint64_t degraded_events = 128;
  size_t pending_max = 65536;  // users to extend, per worker; more are extended when ranked
  size_t warm_users = 256;     // per worker, read by a new model before it takes over
  double warm_s_max = 10.0;
  bool two_arms = false;  // the cache is halved between them
};

// Counted since the start, but for the first group.
struct RankerStats {
  uint64_t queued_candidates = 0;  // now
  KvCacheStats cache;              // over workers and arms
  bool degraded = false;

  uint64_t ranked = 0, candidates = 0, batches = 0;
  uint64_t helped = 0;  // of ranked: by another worker than the user's own
  uint64_t refused = 0, expired = 0, cancelled = 0, failed = 0, degraded_answers = 0;
  uint64_t prefills = 0, extensions = 0, extensions_dropped = 0;
};

class RankWorker;

class Ranker {
 public:
  // `store` must outlive it.
  static StatusOr<std::unique_ptr<Ranker>> Create(const RankerOptions& options,
                                                  const UserStore& store);
  // Answers what is queued, then stops.
  ~Ranker();

  // Makes `model` answer arm `arm` in every worker, after it has read the users that were ranked
  // last; returns when all have moved on, and requests go on meanwhile. On an error (memory, a
  // schema that is not the store's) the old one stays. One call at a time.
  Status SetModel(size_t arm, std::shared_ptr<const ServedModel> model);
  std::shared_ptr<const ServedModel> model(size_t arm) const;

  void Submit(RankJob job);
  // The error with which Submit would refuse a request of so many candidates now, counted as
  // refused: for callers that have not read them yet.
  Status CheckCapacity(uint64_t user, size_t candidates, SteadyTime deadline);
  void Notify(uint64_t user);
  // Drops what is cached of an erased user.
  void Forget(uint64_t user);

  RankerStats Stats() const;

 private:
  Ranker(const RankerOptions& options, const UserStore& store);
  RankWorker& WorkerOf(uint64_t user) const;

  const RankerOptions options_;
  const UserStore& store_;
  std::vector<std::unique_ptr<RankWorker>> workers_;
  std::mutex set_model_;
  mutable std::mutex models_mutex_;
  std::array<std::shared_ptr<const ServedModel>, kArms> models_;
};

}  // namespace grab
