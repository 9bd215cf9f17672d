// Cached inference: a user's history is computed once and kept as keys and values, or as the
// latents they are made from (serve/cached_page.h), new events are appended to it, and candidates
// are scored against it (DESIGN 5).
//
// Append is exact: a history appended event by event, in parts, or prefilled at once is the same to
// the bit (prefilling skips what no query can reach), because a token depends on nothing that
// comes later. A candidate's logits are to the bit those it would get alone, whatever is scored
// beside it (M-FALCON, arXiv 2402.17152): candidates see the history and themselves.
//
// An Engine belongs to one thread, with its cache; engines may share a PackedModel. Events come as
// rows of EventColumns that follow the model's schema. Scratch is sized at construction; after the
// first calls of a kind (vectors of unusual events may still grow) nothing is allocated, and no
// lock is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "batch/visibility.h"
#include "data/timeline.h"
#include "model/kv_cache.h"
#include "model/packed_model.h"
#include "serve/cached_page.h"
#include "serve/layer_stack.h"
#include "serve/visible_keys.h"
#include "tokens/tokeniser.h"

namespace grab {

// Candidates of one user: rows [begin, end) of `events`, each with its request time.
struct ScoreRequest {
  uint64_t user = 0;
  const EventColumns* events = nullptr;
  size_t begin = 0;
  size_t end = 0;
};

// Rows through the dense layers at a time: weights are read once for all of them, and what lies
// between two layers stays in cache.
inline constexpr int64_t kMicroBatchRows = 128;

class Engine {
 public:
  // What a KvCache for this model must be like; `bytes_max` is its budget.
  static KvCacheOptions CacheOptions(const PackedModel& model, size_t bytes_max);

  // A budget that holds any one user, whatever its history.
  static size_t BytesOfOneUser(const PackedModel& model,
                               int64_t micro_batch_rows = kMicroBatchRows);

  // `model` and `cache` must outlive it; `version` names the model in the cache. Rows of events or
  // candidates are computed `micro_batch_rows` at a time. A cache made for another model's
  // CacheOptions is an InvalidArgument. A model without channels takes no cache (null).
  static StatusOr<std::unique_ptr<Engine>> Create(const PackedModel& model, uint64_t version,
                                                  KvCache* cache,
                                                  int64_t micro_batch_rows = kMicroBatchRows);

  size_t tasks() const { return model_.spec().tasks.size(); }

  // Whether the user is cached, and then how many events it has seen since it was prefilled, the
  // prefilled ones included.
  bool Cached(uint64_t user) const;
  uint64_t Events(uint64_t user) const;

  // Replaces what is cached of the user by the history [begin, end) of `events`, which may be
  // empty. FailedPrecondition while the user is pinned; otherwise as Append, and after an error the
  // user is not cached.
  Status Prefill(uint64_t user, const EventColumns& events, size_t begin, size_t end);

  // Appends events in order of known time; those that are candidates only (EventColumns::history)
  // leave nothing in the cache. InvalidArgument if one is older than the one before it
  // or than the newest cached one: nothing is appended; NotFound if the user is not cached;
  // ResourceExhausted if it does not fit beside the users in use: the user keeps the events that
  // Events() counts.
  Status Append(uint64_t user, const EventColumns& events, size_t begin, size_t end);

  // logits [all candidates, tasks], in the order of the requests. NotFound if a user is not cached;
  // FailedPrecondition if a request is so old that what it may see is no longer cached.
  Status Score(absl::Span<const ScoreRequest> requests, absl::Span<float> logits);

  // As Score, of users that the caller keeps pinned, one per request (null for a model without
  // channels). Of the cache only these users are read: engines of several threads may do so at once
  // while one of the threads changes other users.
  Status ScorePinned(absl::Span<const ScoreRequest> requests, absl::Span<KvUser* const> users,
                     absl::Span<float> logits);

  // A pinned user stays cached; every Pin needs its Unpin. NotFound if it is not cached: this is
  // the look-up that counts as a hit or a miss.
  Status Pin(uint64_t user);
  void Unpin(uint64_t user);
  void Drop(uint64_t user);  // no-op if not cached; not while pinned

 private:
  // Consecutive candidates of one request in a micro-batch.
  struct Segment {
    const KvUser* user = nullptr;
    const ScoreRequest* request = nullptr;
    size_t candidate = 0;  // row of its events
    int64_t row = 0;       // of the micro-batch
    int64_t rows = 0;
  };

  Engine(const PackedModel& model, uint64_t version, KvCache* cache, int64_t micro_batch_rows);

  // Token vector of one event into row `row` of the stack's tokens.
  void PutToken(const Tokeniser& tokeniser, const PackedTokenizer& packed, TokenColumns& columns,
                const EventColumns& events, size_t index, int64_t row);

  bool InChannel(size_t channel, const EventColumns& events, size_t index) const;
  void StartAtReach(KvUser* user, const EventColumns& events, size_t begin, size_t end);
  Status CheckOrder(const KvUser* user, const EventColumns& events, size_t begin, size_t end) const;
  Status AppendAll(KvUser* user, const EventColumns& events, size_t begin, size_t end);
  Status AppendChunk(KvUser* user, const EventColumns& events, size_t begin, size_t end);
  Status ReserveChunk(KvUser* user, const EventColumns& events, size_t begin, size_t end);
  void AppendToChannel(KvUser* user, size_t channel, const EventColumns& events);
  // Of the events in channel_rows_, what the page holds once for all layers, and then each layer.
  void WriteEvents(const KvUser* user, size_t channel, const EventColumns& events);
  void WriteKeys(const KvUser* user, size_t channel, int64_t layer);
  void ReleaseUnseen(KvUser* user, size_t channel);

  Status FindUsers(absl::Span<const ScoreRequest> requests);
  void UnpinUsers();
  Status ScoreMicroBatch(int64_t rows, float* logits);
  Status FindVisible();
  void RunLayer(int64_t layer, int64_t rows);

  const PackedModel& model_;
  uint64_t version_;
  KvCache* cache_;
  int64_t rows_max_;
  int64_t d_;
  CachedPage page_;
  Tokeniser partial_, full_;
  TokenColumns partial_columns_, full_columns_;  // of one row
  LayerStack stack_;
  std::unique_ptr<VisibleKeys> visible_;  // if the model has channels
  Floats encoded_;                        // [rows_max, d_model]: tokens of a chunk of events
  Floats state_;                          // [rows_max, channels * d_model]
  // A chunk of events: those that some channel takes, and which of them one channel takes.
  std::vector<size_t> chunk_events_;
  std::vector<size_t> channel_rows_;      // rows of the chunk
  std::vector<int32_t> channel_actions_;  // their action classes
  std::vector<size_t> start_;             // [channels] events before this one are left out
  std::vector<ChannelTimeline> timelines_;
  // A micro-batch of candidates.
  std::vector<KvUser*> users_;  // of the requests, pinned
  std::vector<Segment> segments_;
};

}  // namespace grab
