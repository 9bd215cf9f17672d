// The dense operators of the net. In f32 they are autograd functions around src/kernels; in f64,
// for gradient checks, the same formulas in libtorch's own operators. The products of f32 nets run
// in `precision`. Matrices are [rows, width]; weights of linear layers [out, in].
#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include "kernels/matmul.h"

namespace grab {

struct LinearWeights {
  torch::Tensor weight, bias;
};

// Undefined tensors: no norm.
struct LayerNormWeights {
  torch::Tensor scale, shift;
};

torch::Tensor LayerNormed(const torch::Tensor& x, const LayerNormWeights& norm);

// norm(x) weight^T + bias (+ residual, if defined).
torch::Tensor NormedLinear(const torch::Tensor& x, const LayerNormWeights& norm,
                           const LinearWeights& linear, const torch::Tensor& residual,
                           Precision precision);

// Queries of the last `queries` rows [queries, d] and keys beside values of all rows [rows, 2 d];
// `linear` has 3 d outputs.
std::pair<torch::Tensor, torch::Tensor> QueriesKeysValues(const torch::Tensor& x,
                                                          const LayerNormWeights& norm,
                                                          const LinearWeights& linear,
                                                          int64_t queries, Precision precision);

// x + out(GELU(hidden(norm(x)))).
torch::Tensor FeedForward(const torch::Tensor& x, const LayerNormWeights& norm,
                          const LinearWeights& hidden, const LinearWeights& out,
                          Precision precision);

// out(GELU(hidden(norm(v)))) * sigmoid(gate(norm(v))).
torch::Tensor GateMlp(const torch::Tensor& v, const LayerNormWeights& norm,
                      const LinearWeights& hidden, const LinearWeights& out,
                      const LinearWeights& gate, Precision precision);

// The channels' vectors of a row lie one after another in `x` [rows, channels * width]; each gets
// the others' added, times the sigmoid of their part of gate(x).
torch::Tensor MixTargets(const torch::Tensor& x, const LinearWeights& gate, int64_t channels,
                         Precision precision);

// Of every head, whose parts of q [queries, d] and k [keys, d] lie side by side: q k^T [heads,
// queries, keys].
torch::Tensor HeadProducts(const torch::Tensor& q, const torch::Tensor& k, int64_t heads);

// Of every head: weight [heads, queries, keys] times its part of v [keys, d], side by side again
// [queries, d].
torch::Tensor HeadSums(const torch::Tensor& weight, const torch::Tensor& v);

}  // namespace grab
