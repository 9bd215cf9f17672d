#include "kernels/gate_mlp.h"

#include <algorithm>

#include "kernels/layer_norm.h"
#include "kernels/scratch.h"
#include "kernels/vector_ops.h"

namespace grab {
namespace {

constexpr int64_t kBlockRows = 256;

struct Buffers {
  float *hidden_weight, *out_weight, *gate_weight;  // in the products' precision
  float *normed, *stats, *d_normed, *active, *d_pre, *d_gate, *d_value;
  float *normed_operand, *active_operand, *d_pre_operand, *d_gate_operand, *d_value_operand;
  int64_t size;

  Buffers(const GateMlpShape& s, float* memory) {
    Scratch scratch(memory);
    const auto operand = [&](int64_t elements) {
      return scratch.Take(OperandScratch(s.precision, elements));
    };
    const int64_t block = std::min(kBlockRows, s.rows);
    hidden_weight = operand(s.hidden * s.in_width);
    out_weight = operand(s.out_width * s.hidden);
    gate_weight = operand(s.out_width * s.in_width);
    normed = scratch.Take(block * s.in_width);
    stats = scratch.Take(2 * block);
    d_normed = scratch.Take(block * s.in_width);
    active = scratch.Take(block * s.hidden);
    d_pre = scratch.Take(block * s.hidden);
    d_gate = scratch.Take(block * s.out_width);
    d_value = scratch.Take(block * s.out_width);
    normed_operand = operand(block * s.in_width);
    active_operand = operand(block * s.hidden);
    d_pre_operand = operand(block * s.hidden);
    d_gate_operand = operand(block * s.out_width);
    d_value_operand = operand(block * s.out_width);
    size = scratch.size();
  }
};

struct Weights {
  Operand hidden, out, gate;

  Weights(const GateMlpShape& s, const GateMlpWeights& w, const Buffers& b)
      : hidden(MakeOperand(s.precision, s.hidden, s.in_width, w.hidden_weight, s.in_width,
                           b.hidden_weight)),
        out(MakeOperand(s.precision, s.out_width, s.hidden, w.out_weight, s.hidden, b.out_weight)),
        gate(MakeOperand(s.precision, s.out_width, s.in_width, w.gate_weight, s.in_width,
                         b.gate_weight)) {}
};

Operand BlockInput(const GateMlpShape& shape, const NormWeights& norm, int64_t rows, const float* v,
                   const Buffers& buffers) {
  LayerNormForward(rows, shape.in_width, v, norm.scale, norm.shift, buffers.normed, buffers.stats);
  return MakeOperand(shape.precision, rows, shape.in_width, buffers.normed, shape.in_width,
                     buffers.normed_operand);
}

}  // namespace

int64_t GateMlpScratch(const GateMlpShape& shape) { return Buffers(shape, nullptr).size; }

void GateMlpForward(const GateMlpShape& shape, const GateMlpWeights& weights, const float* v,
                    const GateMlpActivations& kept, float* out, float* scratch) {
  const int64_t in_width = shape.in_width;
  const int64_t hidden = shape.hidden;
  const int64_t d = shape.out_width;
  const Buffers buffers(shape, scratch);
  const Weights operand(shape, weights, buffers);
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, shape.rows - begin);
    float* pre = kept.pre + begin * hidden;
    float* gate = kept.gate + begin * d;
    float* value = kept.value + begin * d;
    const Operand in = BlockInput(shape, weights.norm, rows, v + begin * in_width, buffers);
    AddBias(rows, hidden, weights.hidden_bias, nullptr, 0, pre, hidden);
    Multiply(rows, hidden, in_width, in, operand.hidden.T(), true, pre, hidden);
    AddBias(rows, d, weights.gate_bias, nullptr, 0, gate, d);
    Multiply(rows, d, in_width, in, operand.gate.T(), true, gate, d);
    GeluForward(rows * hidden, pre, buffers.active);
    const Operand active =
        MakeOperand(shape.precision, rows, hidden, buffers.active, hidden, buffers.active_operand);
    AddBias(rows, d, weights.out_bias, nullptr, 0, value, d);
    Multiply(rows, d, hidden, active, operand.out.T(), true, value, d);
    GateForward(rows * d, gate, value, out + begin * d);
  }
}

void GateMlpBackward(const GateMlpShape& shape, const GateMlpWeights& weights, const float* v,
                     const GateMlpActivations& kept, const float* d_out, float* d_v,
                     const GateMlpGradients& gradients, float* scratch) {
  const int64_t in_width = shape.in_width;
  const int64_t hidden = shape.hidden;
  const int64_t d = shape.out_width;
  const Buffers buffers(shape, scratch);
  const Weights operand(shape, weights, buffers);
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, shape.rows - begin);
    const float* v_block = v + begin * in_width;
    GateBackward(rows * d, kept.gate + begin * d, kept.value + begin * d, d_out + begin * d,
                 buffers.d_gate, buffers.d_value);
    const auto as_operand = [&](const float* data, int64_t width, float* memory) {
      return MakeOperand(shape.precision, rows, width, data, width, memory);
    };
    const Operand d_value = as_operand(buffers.d_value, d, buffers.d_value_operand);
    const Operand d_gate = as_operand(buffers.d_gate, d, buffers.d_gate_operand);
    Multiply(rows, hidden, d, d_value, operand.out, false, buffers.d_pre, hidden);
    GeluBackward(rows * hidden, kept.pre + begin * hidden, buffers.d_pre, buffers.active,
                 buffers.d_pre);
    const Operand active = as_operand(buffers.active, hidden, buffers.active_operand);
    const Operand d_pre = as_operand(buffers.d_pre, hidden, buffers.d_pre_operand);
    const Operand in = BlockInput(shape, weights.norm, rows, v_block, buffers);
    AddColumnSums(rows, d, buffers.d_value, d, gradients.out_bias);
    AddColumnSums(rows, d, buffers.d_gate, d, gradients.gate_bias);
    AddColumnSums(rows, hidden, buffers.d_pre, hidden, gradients.hidden_bias);
    Multiply(d, hidden, rows, d_value.T(), active, true, gradients.out_weight, hidden);
    Multiply(d, in_width, rows, d_gate.T(), in, true, gradients.gate_weight, in_width);
    Multiply(hidden, in_width, rows, d_pre.T(), in, true, gradients.hidden_weight, in_width);
    Multiply(rows, in_width, hidden, d_pre, operand.hidden, false, buffers.d_normed, in_width);
    Multiply(rows, in_width, d, d_gate, operand.gate, true, buffers.d_normed, in_width);
    LayerNormBackward(rows, in_width, v_block, weights.norm.scale, buffers.stats, buffers.d_normed,
                      nullptr, d_v + begin * in_width, gradients.norm_scale, gradients.norm_shift);
  }
}

}  // namespace grab
