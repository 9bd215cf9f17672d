#include "kernels/feed_forward.h"

#include <algorithm>

#include "kernels/layer_norm.h"
#include "kernels/scratch.h"
#include "kernels/vector_ops.h"

namespace grab {
namespace {

constexpr int64_t kBlockRows = 256;

struct Buffers {
  float *hidden_weight, *out_weight;  // in the products' precision
  float *normed, *stats, *d_normed;
  float *active, *d_pre;  // [block, hidden]
  float *normed_operand, *active_operand, *d_pre_operand, *d_out_operand;
  int64_t size;

  Buffers(const FeedForwardShape& s, float* memory) {
    Scratch scratch(memory);
    const auto operand = [&](int64_t elements) {
      return scratch.Take(OperandScratch(s.precision, elements));
    };
    const int64_t block = std::min(kBlockRows, s.rows);
    hidden_weight = operand(s.hidden * s.width);
    out_weight = operand(s.hidden * s.width);
    normed = scratch.Take(block * s.width);
    stats = scratch.Take(2 * block);
    d_normed = scratch.Take(block * s.width);
    active = scratch.Take(block * s.hidden);
    d_pre = scratch.Take(block * s.hidden);
    normed_operand = operand(block * s.width);
    active_operand = operand(block * s.hidden);
    d_pre_operand = operand(block * s.hidden);
    d_out_operand = operand(block * s.width);
    size = scratch.size();
  }
};

// One block of rows as a product's operand, normed if there is a norm.
Operand BlockInput(const FeedForwardShape& shape, const NormWeights& norm, int64_t rows,
                   const float* x, const Buffers& buffers) {
  if (norm.scale != nullptr) {
    LayerNormForward(rows, shape.width, x, norm.scale, norm.shift, buffers.normed, buffers.stats);
    x = buffers.normed;
  }
  return MakeOperand(shape.precision, rows, shape.width, x, shape.width, buffers.normed_operand);
}

}  // namespace

int64_t FeedForwardScratch(const FeedForwardShape& shape) { return Buffers(shape, nullptr).size; }

void FeedForwardForward(const FeedForwardShape& shape, const FeedForwardWeights& weights,
                        const float* x, float* pre, float* out, float* scratch) {
  const int64_t d = shape.width;
  const int64_t hidden = shape.hidden;
  const Precision precision = shape.precision;
  const Buffers buffers(shape, scratch);
  const Operand hidden_weight =
      MakeOperand(precision, hidden, d, weights.hidden_weight, d, buffers.hidden_weight);
  const Operand out_weight =
      MakeOperand(precision, d, hidden, weights.out_weight, hidden, buffers.out_weight);
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, shape.rows - begin);
    const float* x_block = x + begin * d;
    float* pre_block = pre + begin * hidden;
    float* out_block = out + begin * d;
    const Operand in = BlockInput(shape, weights.norm, rows, x_block, buffers);
    AddBias(rows, hidden, weights.hidden_bias, nullptr, 0, pre_block, hidden);
    Multiply(rows, hidden, d, in, hidden_weight.T(), true, pre_block, hidden);
    GeluForward(rows * hidden, pre_block, buffers.active);
    const Operand active =
        MakeOperand(precision, rows, hidden, buffers.active, hidden, buffers.active_operand);
    AddBias(rows, d, weights.out_bias, x_block, d, out_block, d);
    Multiply(rows, d, hidden, active, out_weight.T(), true, out_block, d);
  }
}

void FeedForwardBackward(const FeedForwardShape& shape, const FeedForwardWeights& weights,
                         const float* x, const float* pre, const float* d_out, float* d_x,
                         const FeedForwardGradients& gradients, float* scratch) {
  const int64_t d = shape.width;
  const int64_t hidden = shape.hidden;
  const Precision precision = shape.precision;
  const Buffers buffers(shape, scratch);
  const Operand hidden_weight =
      MakeOperand(precision, hidden, d, weights.hidden_weight, d, buffers.hidden_weight);
  const Operand out_weight =
      MakeOperand(precision, d, hidden, weights.out_weight, hidden, buffers.out_weight);
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, shape.rows - begin);
    const float* x_block = x + begin * d;
    const float* d_out_block = d_out + begin * d;
    float* d_x_block = d_x + begin * d;
    const Operand d_out_operand =
        MakeOperand(precision, rows, d, d_out_block, d, buffers.d_out_operand);
    Multiply(rows, hidden, d, d_out_operand, out_weight, false, buffers.d_pre, hidden);
    GeluBackward(rows * hidden, pre + begin * hidden, buffers.d_pre, buffers.active, buffers.d_pre);
    const Operand active =
        MakeOperand(precision, rows, hidden, buffers.active, hidden, buffers.active_operand);
    const Operand d_pre =
        MakeOperand(precision, rows, hidden, buffers.d_pre, hidden, buffers.d_pre_operand);
    AddColumnSums(rows, d, d_out_block, d, gradients.out_bias);
    AddColumnSums(rows, hidden, buffers.d_pre, hidden, gradients.hidden_bias);
    Multiply(d, hidden, rows, d_out_operand.T(), active, true, gradients.out_weight, hidden);
    const Operand in = BlockInput(shape, weights.norm, rows, x_block, buffers);
    Multiply(hidden, d, rows, d_pre.T(), in, true, gradients.hidden_weight, d);
    if (weights.norm.scale == nullptr) {
      std::copy(d_out_block, d_out_block + rows * d, d_x_block);
      Multiply(rows, d, hidden, d_pre, hidden_weight, true, d_x_block, d);
      continue;
    }
    Multiply(rows, d, hidden, d_pre, hidden_weight, false, buffers.d_normed, d);
    LayerNormBackward(rows, d, x_block, weights.norm.scale, buffers.stats, buffers.d_normed,
                      d_out_block, d_x_block, gradients.norm_scale, gradients.norm_shift);
  }
}

}  // namespace grab
