// Cached users of one model, kept as the store has them: what is missing is read and appended, what
// changed in the past is read anew. One thread owns it; others may help (AcquireCurrent).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "model/kv_cache.h"
#include "ranking/served_model.h"
#include "serve/engine.h"
#include "state/user_store.h"

namespace grab {

// What the scores of a user know of its history.
struct HistoryKnown {
  uint64_t sequence = 0;     // the store's newest event when it was read
  uint64_t events_read = 0;  // when it was last read from the start
  bool degraded = false;     // only the newest events were read
};

// A cache of keys and values that the users of an old and of a new model share while one takes
// over.
struct LockedCache {
  std::mutex mutex;  // held while it is changed
  std::unique_ptr<KvCache> kv;
};

// A user that stays cached as it is until it is released.
struct AcquiredUser {
  HistoryKnown known;
  KvUser* pinned = nullptr;  // null for a model without history
};

class UserCache {
 public:
  // `store`, of the model's schema, must outlive it. `cache`: null for a model without history.
  static StatusOr<std::unique_ptr<UserCache>> Create(std::shared_ptr<const ServedModel> model,
                                                     const UserStore& store,
                                                     std::shared_ptr<LockedCache> cache);

  const std::shared_ptr<const ServedModel>& model() const { return model_; }
  uint64_t version() const { return version_; }  // of no other UserCache of the process

  // ---- Of any thread ----

  // The user, pinned, if it is cached just as the store has it and the owner is not changing the
  // cache; else nullopt.
  std::optional<AcquiredUser> AcquireCurrent(uint64_t user);
  void Release(const AcquiredUser& user) const;
  // Another engine on the same cache, for ScorePinned. It must not outlive this.
  StatusOr<std::unique_ptr<Engine>> NewEngine() const;

  // ---- Of the owner ----

  bool Cached(uint64_t user) const { return !has_history_ || engine_->Cached(user); }

  // Brings the user to where the store is and pins it: every OK needs its Release. A user that is
  // not cached is read from the start, or its newest `events_max` events if that is given: then it
  // is degraded until Acquire is called without. ResourceExhausted: there is no room beside the
  // pinned ones.
  StatusOr<AcquiredUser> Acquire(uint64_t user, std::optional<uint64_t> events_max);

  // Brings a user that is cached to where the store is; others are left alone.
  Status Extend(uint64_t user);

  // Scores of acquired users, one per request (serve/engine.h).
  Status Score(absl::Span<const ScoreRequest> requests, absl::Span<KvUser* const> users,
               absl::Span<float> logits) {
    return engine_->ScorePinned(requests, users, logits);
  }
  // Scores a request that is older than what the cache reaches: the history is read anew as it was
  // then. The user must not be acquired.
  Status ScorePast(const ScoreRequest& request, absl::Span<float> logits);

  void Drop(uint64_t user);

  uint64_t prefills() const { return prefills_; }
  uint64_t extensions() const { return extensions_; }

 private:
  struct Entry {
    uint64_t generation = 0;
    EventPosition newest;  // that was appended
    HistoryKnown known;
  };

  UserCache(std::shared_ptr<const ServedModel> model, const UserStore& store,
            std::shared_ptr<LockedCache> cache);
  // With the cache locked.
  StatusOr<AcquiredUser> AcquireLocked(uint64_t user, std::optional<uint64_t> events_max);
  void DropLocked(uint64_t user);
  // Until no other thread reads the user: as long as one score takes.
  void WaitUntilUnused(uint64_t user) const;
  // Whether what is cached is a beginning of what the store has.
  bool IsCurrent(const Entry& entry, const std::optional<UserState>& state) const;
  Status AppendNew(uint64_t user, const UserState& state, Entry& entry);
  Status ReadAnew(uint64_t user, const std::optional<UserState>& state,
                  std::optional<uint64_t> events_max);
  void ForgetEvicted();

  std::shared_ptr<const ServedModel> model_;
  const UserStore& store_;
  const bool has_history_;
  const std::shared_ptr<LockedCache> cache_;
  // In the cache: what an earlier UserCache left there, of the same model too, is never found.
  const uint64_t version_;
  std::unique_ptr<Engine> engine_;
  absl::flat_hash_map<uint64_t, Entry> entries_;  // of cached users, and of some evicted ones
  uint64_t prefills_ = 0, extensions_ = 0;
};

}  // namespace grab
