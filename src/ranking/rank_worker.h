// One thread of the ranker: its queue, its cache, its engines. A thread that has nothing to do
// scores what waits for another one, on that one's cache: users stay where they are, and only those
// that are cached just as the store has them are scored elsewhere.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <thread>

#include "absl/container/flat_hash_set.h"
#include "ranking/ranker.h"

namespace grab {

class RankWorker {
 public:
  RankWorker(const RankerOptions& options, size_t cache_bytes, const UserStore& store);
  ~RankWorker();  // after Join of all workers

  // All workers, this one included, before the first Submit; those that help.
  void SetPeers(const std::vector<std::unique_ptr<RankWorker>>& peers);

  // Answers what is queued, then ends the thread. All workers are told before one is joined: they
  // help each other until then.
  void TellToStop();
  void Join();

  void Submit(RankJob job);
  Status CheckCapacity(size_t candidates, SteadyTime deadline);
  void Notify(uint64_t user);
  void Forget(uint64_t user);
  // Returns once it has taken over or failed.
  Status SetModel(size_t arm, std::shared_ptr<const ServedModel> model);

  void AddStats(RankerStats& stats) const;

 private:
  struct Queued {
    RankJob job;
    SteadyTime since;
    bool stays = false;  // must not be scored elsewhere
  };
  // What answers an arm. The cache is kept when the next model's pages are alike.
  struct Arm {
    std::shared_ptr<LockedCache> cache;
    KvCacheOptions cache_options;
    std::shared_ptr<UserCache> users;
  };
  // A model that is to take over.
  struct Swap {
    size_t arm = 0;
    std::shared_ptr<const ServedModel> model;
    Arm next;  // its cache stays empty where the old one can be used
    std::vector<uint64_t> to_warm;
    SteadyTime warm_until;
    bool done = false;
    Status status;
  };
  // Requests of one arm that are scored together.
  struct Batch {
    std::vector<Queued> jobs;
    std::vector<RankResult> results;
    absl::flat_hash_map<uint64_t, AcquiredUser> acquired;
    size_t candidates = 0;
  };
  // A request of a user whose cache is another worker's.
  struct Lent {
    Queued queued;
    std::shared_ptr<UserCache> users;
    AcquiredUser acquired;
  };
  // An engine on another worker's cache.
  struct Helper {
    std::shared_ptr<UserCache> users;
    std::unique_ptr<Engine> engine;
  };
  struct Work {
    std::vector<Queued> jobs;
    std::vector<uint64_t> forget;
    std::optional<uint64_t> extend;
    bool stop = false;
  };

  void Loop();
  Work Take();
  bool HasWork() const;
  double WaitEstimate() const;  // of what is queued
  Status Admit(size_t candidates, SteadyTime deadline, SteadyTime now) const;
  bool UnderPressure() const;

  void AdvanceSwap();
  Status BeginSwap(Swap& swap);
  void TakeOver(Swap& swap);
  void FinishSwap(Swap& swap);
  void Extend(uint64_t user);

  void Serve(std::vector<Queued> jobs);
  void ServeCold();
  // Acquires the job's user and adds it to the batch, or answers it, or lets it wait in cold_.
  void AddToBatch(Arm& arm, Queued queued, std::optional<uint64_t> events_max, Batch& batch);
  void ScoreBatch(Arm& arm, Batch& batch);
  void ScoreTogether(Arm& arm, Batch& batch);
  void ScorePast(Arm& arm, const Queued& queued, RankResult& result);
  void WaitCold(Queued queued);

  // Tells this worker, if it has nothing to do, that another one's queue grows; false: it has.
  bool AskForHelp();
  // The next request of this worker that another one may score now.
  std::optional<Lent> Lend();
  void TakeBack(Queued queued);
  // Scores for others until there is nothing, or work of its own.
  void HelpOthers();
  void ScoreLent(RankWorker& owner, Lent lent);
  StatusOr<Engine*> HelperFor(const std::shared_ptr<UserCache>& users);
  // How much of a history that is not cached is read now.
  std::optional<uint64_t> EventsMax() const;
  void Answer(Queued& queued, RankResult result);
  bool Dead(const Queued& queued, RankResult& result) const;
  void Remember(uint64_t user);
  void PublishStats();

  const RankerOptions options_;
  const size_t cache_bytes_;
  const UserStore& store_;
  std::vector<RankWorker*> peers_;  // the next ones first

  mutable std::mutex mutex_;
  std::condition_variable wake_, swapped_;
  std::deque<Queued> queue_;
  size_t queued_candidates_ = 0;
  std::deque<uint64_t> pending_;
  absl::flat_hash_set<uint64_t> pending_set_;
  std::vector<uint64_t> forget_;
  Swap* swap_ = nullptr;  // the caller's of SetModel
  bool stop_ = false;
  bool ended_ = false;                                        // the thread
  bool idle_ = false;                                         // waits for work
  bool help_ = false;                                         // was asked to help
  std::array<std::shared_ptr<UserCache>, kArms> lent_users_;  // those of arms_
  std::vector<uint64_t> recent_;                              // a ring of users
  size_t recent_next_ = 0;
  RankerStats published_;  // of the thread

  std::atomic<double> seconds_per_candidate_{0.0}, seconds_per_cold_{0.0};
  std::atomic<size_t> cold_waiting_{0};  // jobs in cold_
  std::atomic<uint64_t> refused_{0}, extensions_dropped_{0};

  // The thread's own.
  std::array<Arm, kArms> arms_;
  std::deque<Queued> cold_;
  RankerStats stats_;
  absl::flat_hash_map<uint64_t, Helper> helpers_;           // by UserCache::version
  uint64_t prefills_retired_ = 0, extensions_retired_ = 0;  // of models that are gone
  std::thread thread_;
};

}  // namespace grab
