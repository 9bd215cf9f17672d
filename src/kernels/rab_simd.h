// RAB attention near the machine's limit: the mathematics of kernels/rab_attention.h (its slow
// reference) in tiles of 64 keys, softmax online, SIMD chosen at run time (kernels/simd_target.h).
//
// What makes it fast, beyond tiling (DESIGN 3.3):
//   * the action bias depends on the key alone: q . (k_j + B_act[a_j]); it is added to the key
//   once;
//   * position and time buckets grow with age, so a query's keys fall into a few runs of equal
//   bias:
//     RabRuns lists where the runs end, and a tile's bias is filled run by run, no gather per pair;
//   * products q B^T are one more tile of keys.
// Work is proportional to visible pairs, rounded up to a vector of keys; nothing of size L x L
// exists.
//
// Scratch is the caller's (RabScratchBytes); no allocation, no threads, no locks. A row's result
// depends on its own keys and on the SIMD target, not on the rows computed beside it. Pointers are
// raw, row-major, owned by the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/precision.h"
#include "kernels/rab_attention.h"

namespace grab {

// Consecutive keys of a query whose position bucket and time bucket do not change. Keys so close
// that every distance has a position bucket of its own are one run as well, of kExactPositions.
struct RabRun {
  int32_t key_end;  // the run starts where the one before ended, the first at the query's key_begin
  uint16_t position_column;  // kernels/rab_layout.h
  uint16_t time_column;
};
constexpr uint16_t kExactPositions = 0xFFFF;

// What the kernels read instead of times and buckets: made once per batch, for all heads and
// layers.
struct RabRuns {
  const RabRun* runs = nullptr;  // [queries, RabRunStride]; the last of a query ends at its key_end
};
int64_t RabRunStride(const RabShape& shape);

// Fills runs for the queries of `shape`. Key times must ascend inside every range. position_last:
// of FillPositionLast.
void FillRabRuns(const RabShape& shape, const RabVisibility& visibility,
                 const int32_t* position_last, RabRun* runs);

// The largest distance in each position bucket or below, [buckets], from position_bucket
// [distance_max + 1] as PositionBuckets makes it; the last is unbounded.
void FillPositionLast(const uint16_t* position_bucket, int64_t distance_max, int64_t buckets,
                      int32_t* position_last);

// Codebooks of a layer as a tile of keys, packed once per set of weights.
//   packed [heads][RabCodebookFloats(shape) / heads]
int64_t RabCodebookFloats(const RabShape& shape);
void PackRabCodebooks(const RabShape& shape, const float* position, const float* time,
                      const float* action, float* packed);

// ---- Training: keys and values as rows, f32 -----------------------------------------------------

// Queries that share a range of keys: a user's partial rows and its full rows.
struct RabSegment {
  int32_t key_begin = 0;  // covers the key ranges of all its queries (self keys excluded)
  int32_t key_end = 0;
  int32_t query_begin[2] = {0, 0};
  int32_t query_end[2] = {0, 0};
};

struct RabProblem {
  RabShape shape;
  RabVisibility visibility;  // times and position_bucket are not read
  RabRuns runs;
  const RabSegment* segments = nullptr;
  int64_t segment_count = 0;
  RabInputs<float> inputs;           // codebook_action is read, and the other two by Backward
  const float* codebooks = nullptr;  // PackRabCodebooks of the inputs' codebooks
};

// Scratch of one call: enough for segments of at most `segment_keys_max` keys.
size_t RabForwardScratchBytes(const RabShape& shape, int64_t segment_keys_max);
size_t RabBackwardScratchBytes(const RabShape& shape, int64_t segment_keys_max);

// Computes segments [segment_begin, segment_end) for heads [head_begin, head_end): split either
// among threads. Arguments as RabAttentionForward.
void RabForward(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                int64_t head_begin, int64_t head_end, float* out, float* log_sum, void* scratch);

// As RabAttentionBackward: gradients are added to what is there. Codebook gradients of a head are
// shared by all segments: threads that split segments need their own, summed afterwards.
void RabBackward(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                 int64_t head_begin, int64_t head_end, const float* out, const float* log_sum,
                 const float* d_out, const RabGradients<float>& gradients, void* scratch);

// Visible pairs of a segment, self pairs included: what its work is proportional to.
int64_t RabVisiblePairs(const RabVisibility& visibility, const RabSegment& segment);

// Splits the (segment, head) pairs of a problem, item = segment * heads + head, into `parts`
// contiguous ranges of about equal visible pairs: bounds [parts + 1]. Depends on the problem and
// `parts` only.
void SplitRabItems(const RabProblem& problem, int parts, int64_t* bounds);

// ---- Inference: keys and values in cached tiles -------------------------------------------------

// A tile holds 64 consecutive keys of one sequence, all heads, with the action bias in the keys.
constexpr int64_t kTileKeys = 64;
constexpr int64_t kHeadWidthMax = 1024;

// kInt8: one scale per key and head, for keys and for values.
// Bytes of one tile (a multiple of 64); tiles must be aligned to 64 bytes and start zeroed.
size_t RabTileBytes(const RabShape& shape, Precision format);

// Writes keys into slots [slot, slot + rows) of a tile: k, v [rows, heads * head_width] with
// `stride` elements between rows, action [rows] the class of each key, codebook_action [heads,
// action_classes, head_width].
void WriteRabTile(const RabShape& shape, Precision format, const float* k, const float* v,
                  int64_t stride, const int32_t* action, const float* codebook_action, int64_t slot,
                  int64_t rows, void* tile);

// Queries of one sequence against its tiles. Key j of a range lies in tiles[j / 64], slot j % 64;
// tiles that no range touches may be null.
struct RabTiledProblem {
  RabShape shape;  // `keys` is not read
  Precision format = Precision::kF32;
  const void* const* tiles = nullptr;
  const int32_t* key_begin = nullptr;  // [queries], as in RabVisibility
  const int32_t* key_end = nullptr;    // [queries]
  RabRuns runs;
  // The queries, and their own keys (without any bias) and values: [queries, heads * head_width].
  const float* q = nullptr;
  const float* self_k = nullptr;
  const float* self_v = nullptr;
  int64_t q_stride = 0;
  int64_t self_stride = 0;
  const float* codebooks = nullptr;  // PackRabCodebooks
};

size_t RabTiledScratchBytes(const RabShape& shape, Precision format);

// out [queries, heads * head_width] with `out_stride` elements between rows, for queries
// [query_begin, query_end) and heads [head_begin, head_end).
void RabTiledForward(const RabTiledProblem& problem, int64_t query_begin, int64_t query_end,
                     int64_t head_begin, int64_t head_end, float* out, int64_t out_stride,
                     void* scratch);

}  // namespace grab
