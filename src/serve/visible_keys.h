// Which cached keys the rows of a micro-batch see, and in which runs of equal bias: DESIGN 3.1's
// strict visibility over the sequences of a KvCache. Key indices here count from a sequence's first
// cached key, which lies at the start of a tile.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "hwy/aligned_allocator.h"
#include "kernels/rab_simd.h"
#include "model/kv_cache.h"
#include "model/packed_model.h"
#include "serve/cached_page.h"
#include "serve/latent_tiles.h"

namespace grab {

// Keys kept beyond a window, so that a request a little older than the newest event is answered.
inline constexpr int64_t kLateKeys = 64;

// Most keys a sequence of the channel ever holds when rows_max events are appended at a time:
// window, late keys, the new ones, and what whole pages add at both ends.
int64_t SequenceKeysMax(const ChannelPlan& plan, int64_t rows_max);

class VisibleKeys {
 public:
  // For at most `rows_max` rows, and sequences of at most `pages_max` pages. Allocates here only.
  VisibleKeys(const PackedModel& model, KvCache& cache, int64_t rows_max);

  // Rows [row, row + count) of channel `channel` are candidates of `user`, requested at
  // request_ms[i]. FailedPrecondition if one would see a key that is no longer cached.
  Status SetCandidates(const KvUser* user, size_t channel, int64_t row, int64_t count,
                       const int64_t* request_ms);

  // Rows [0, count) are the next events of `user` in `channel`, whose pages are reserved and whose
  // known times are written there.
  void SetEvents(const KvUser* user, size_t channel, int64_t count);

  // Attends rows [row, row + count) of `user` in one layer: q, k and v as LayerStack has them.
  void Attend(const KvUser* user, size_t channel, int64_t layer, int64_t row, int64_t count,
              const float* q, const float* self_k, const float* self_v, float* out);

 private:
  struct Channel {
    ChannelPlan plan;
    std::vector<int32_t> position_last;       // [position_buckets]
    std::vector<int32_t> key_begin, key_end;  // [rows_max]
    std::vector<RabRun> runs;                 // [rows_max, RabRunStride]
  };

  // Known times of a sequence's cached keys and of `more` keys behind them, in times_ms_.
  int64_t GatherTimes(const KvSequence& sequence, int64_t more);
  StatusOr<int32_t> CandidateBegin(const ChannelPlan& plan, const KvSequence& sequence, int64_t end,
                                   int64_t request_ms) const;
  // tiles_ of the keys that rows [row, row + count) see.
  void GatherTiles(const KvUser* user, size_t channel, int64_t layer, int64_t row, int64_t count);
  void FillRuns(Channel& channel, int64_t row, int64_t count, const int64_t* query_ms);

  const PackedModel& model_;
  KvCache& cache_;
  CachedPage page_;
  std::vector<Channel> channels_;
  std::vector<int64_t> time_bound_ms_;
  std::vector<int64_t> times_ms_;              // [most keys of a sequence]
  std::vector<const void*> tiles_;             // [most pages of a sequence]
  std::unique_ptr<LatentTiles> latent_tiles_;  // if the model has a latent
  hwy::AlignedFreeUniquePtr<uint8_t[]> scratch_;
};

}  // namespace grab
