// Cached users of one model on one thread, kept as the store has them: what is missing is read and
// appended, what changed in the past is read anew.
#pragma once

#include <cstdint>
#include <memory>
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

class UserCache {
 public:
  // `store`, of the model's schema, and `cache`, null for a model without history, must outlive it.
  static StatusOr<std::unique_ptr<UserCache>> Create(std::shared_ptr<const ServedModel> model,
                                                     const UserStore& store, KvCache* cache);

  const std::shared_ptr<const ServedModel>& model() const { return model_; }
  bool Cached(uint64_t user) const { return !has_history_ || engine_->Cached(user); }

  // Brings the user to where the store is and pins it: every OK needs its Release. A user that is
  // not cached is read from the start, or its newest `events_max` events if that is given: then it
  // is degraded until Acquire is called without. ResourceExhausted: there is no room beside the
  // pinned ones.
  StatusOr<HistoryKnown> Acquire(uint64_t user, std::optional<uint64_t> events_max);
  void Release(uint64_t user);

  // Brings a user that is cached to where the store is; others are left alone.
  Status Extend(uint64_t user);

  // Scores of acquired users (serve/engine.h).
  Status Score(absl::Span<const ScoreRequest> requests, absl::Span<float> logits);
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

  UserCache(std::shared_ptr<const ServedModel> model, const UserStore& store);
  // Whether what is cached is a beginning of what the store has.
  bool IsCurrent(const Entry& entry, const std::optional<UserState>& state) const;
  Status AppendNew(uint64_t user, const UserState& state, Entry& entry);
  Status ReadAnew(uint64_t user, const std::optional<UserState>& state,
                  std::optional<uint64_t> events_max);
  void ForgetEvicted();

  std::shared_ptr<const ServedModel> model_;
  const UserStore& store_;
  KvCache* cache_ = nullptr;
  const bool has_history_;
  // In the cache: what an earlier UserCache left there, of the same model too, is never found.
  const uint64_t version_;
  std::unique_ptr<Engine> engine_;
  absl::flat_hash_map<uint64_t, Entry> entries_;  // of cached users, and of some evicted ones
  uint64_t prefills_ = 0, extensions_ = 0;
};

}  // namespace grab
