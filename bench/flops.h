// Floating-point operations, counted in this one place.
//
//   attention  per visible pair (a token's own included) and head: forward 4 head_width (q.k and
//              the sum of values), backward 10 head_width (logits again, d_weight, d_q, d_k, d_v)
//   dense      2 m n k; in training three times that
// Not counted: bias products q B^T, norms, activations, softmax, pooling, the optimiser.
// Bytes are counted here too.
#pragma once

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "model/spec.h"

namespace grab::bench {

inline double AttentionForwardFlops(double pairs, int64_t heads, int64_t head_width) {
  return 4.0 * pairs * static_cast<double>(heads * head_width);
}
inline double AttentionBackwardFlops(double pairs, int64_t heads, int64_t head_width) {
  return 10.0 * pairs * static_cast<double>(heads * head_width);
}
inline double DenseFlops(double m, double n, double k) { return 2.0 * m * n * k; }

// What a forward works on.
struct Work {
  struct Channel {
    double partial_rows = 0, partial_pairs = 0, full_pairs = 0;
  };
  double partial_tokens = 0;
  double full_rows = 0;
  std::vector<Channel> channels;
};

Work WorkOf(const Batch& batch);
// Candidates against cached histories: no partial row is computed.
Work RankWork(const Batch& batch);

struct Flops {
  double dense = 0, attention_forward = 0, attention_backward = 0;
  double Forward() const { return dense + attention_forward; }
  double Training() const { return 3 * dense + attention_forward + attention_backward; }
};

// In the last layer only full rows ask.
Flops CountFlops(const ModelSpec& spec, const Work& work);

// Bytes that one event read into a cache of `cached` keys per channel has to read: f32 weights of
// the P token and the layers (of the last one only what makes keys and values), and the keys and
// values of the layers before the last.
double AppendBytes(const ModelSpec& spec, int64_t cached);

}  // namespace grab::bench
