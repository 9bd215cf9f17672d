// Causal attention with query-aware relative bias (DESIGN 3.3; GRAB, arXiv 2602.01865, Eqs. 3-4)
// over the ranges of batch/visibility.h. This is the reference: one query at a time, softmax in two
// passes, no more memory than one row.
//
// For query i and head h, over its keys J(i) = {begin_i .. end_i - 1} and its own key s_i:
//   logit_ij = ( q_i . k_j + (q_i B_pos^T)[p_ij] + (q_i B_time^T)[t_ij] + (q_i B_act^T)[a_j] ) /
//   sqrt(head_width) p_ij = position_bucket[end_i - j]     t_ij = TimeBucket(query_time_i -
//   key_time_j)     a_j = key_action_j its own key: p = 0, t = 0, a = action_classes - 1 out_i =
//   sum_j softmax_j(logit_ij) v_j
// end_i - j is the distance in tokens: a history token stands at its row, a candidate right after
// its last visible token.
//
// All pointers are raw, row-major, owned by the caller; heads [head_begin, head_end) are computed,
// so that threads can share the work without sharing a sum: results do not depend on how many there
// are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace grab {

struct RabShape {
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t heads = 0;
  int64_t head_width = 0;
  int64_t position_buckets = 0;
  int64_t time_buckets = 0;
  int64_t action_classes = 0;  // the self class included
};

// Who sees whom. Ranges are over key rows; every self_key is a key row outside its query's range.
struct RabVisibility {
  const int32_t* key_begin = nullptr;      // [queries]
  const int32_t* key_end = nullptr;        // [queries]
  const int32_t* self_key = nullptr;       // [queries]
  const int64_t* query_time_ms = nullptr;  // [queries]
  const int64_t* key_time_ms =
      nullptr;  // [keys], read only inside ranges; <= the query's time there
  const int32_t* key_action = nullptr;  // [keys], read only inside ranges; < action_classes - 1
  const uint16_t* position_bucket = nullptr;  // [longest range + 1]
  const int64_t* time_bound_ms = nullptr;     // [time_buckets - 2]
};

template <class T>
struct RabInputs {
  const T* q = nullptr;  // [queries, heads * head_width]
  const T* k = nullptr;  // [keys, heads * head_width]
  const T* v = nullptr;  // [keys, heads * head_width]
  int64_t q_stride = 0;  // elements between rows of q
  int64_t kv_stride = 0;
  const T* codebook_position = nullptr;  // [heads, position_buckets, head_width]
  const T* codebook_time = nullptr;      // [heads, time_buckets, head_width]
  const T* codebook_action = nullptr;    // [heads, action_classes, head_width]
};

// The keys of one query, those of its range in order and its own last, with the buckets of their
// bias.
struct RabRow {
  std::vector<int32_t> key, position, time, action;

  void Fill(const RabShape& shape, const RabVisibility& visibility, int64_t query);
  size_t size() const { return key.size(); }
};

// What one head of query `query` gives to the keys of its row: softmax_j(logit_ij) in weights
// [row.size()], of sum 1. Returns the logarithm of the softmax denominator.
template <class T>
T RabAttentionWeights(const RabShape& shape, const RabInputs<T>& inputs, const RabRow& row,
                      int64_t query, int64_t head, std::vector<T>& weights);

// out [queries, heads * head_width]; log_sum [queries, heads], the logarithm of the softmax
// denominator, for the backward pass (null if not wanted).
template <class T>
void RabAttentionForward(const RabShape& shape, const RabVisibility& visibility,
                         const RabInputs<T>& inputs, int64_t head_begin, int64_t head_end, T* out,
                         T* log_sum);

// Gradients are added to what is there; d_q, d_k, d_v are laid out as q, k, v with their strides.
template <class T>
struct RabGradients {
  T* d_q = nullptr;
  T* d_k = nullptr;
  T* d_v = nullptr;
  T* d_codebook_position = nullptr;
  T* d_codebook_time = nullptr;
  T* d_codebook_action = nullptr;
};

template <class T>
void RabAttentionBackward(const RabShape& shape, const RabVisibility& visibility,
                          const RabInputs<T>& inputs, int64_t head_begin, int64_t head_end,
                          const T* out, const T* log_sum, const T* d_out,
                          const RabGradients<T>& gradients);

}  // namespace grab
