#include "kernels/norm_linear.h"

#include <algorithm>

#include "kernels/layer_norm.h"
#include "kernels/scratch.h"
#include "kernels/vector_ops.h"

namespace grab {
namespace {

constexpr int64_t kBlockRows = 256;

struct Buffers {
  std::vector<float*> weights;  // per projection, in the products' precision
  float *normed, *stats, *d_normed, *in, *d_out;
  int64_t size;

  Buffers(const NormLinearShape& s, const std::vector<Projection>& projections, float* memory) {
    Scratch scratch(memory);
    int64_t widest = 0;
    for (const Projection& p : projections) {
      weights.push_back(scratch.Take(OperandScratch(s.precision, p.width * s.in_width)));
      widest = std::max(widest, p.width);
    }
    const int64_t block = std::min(kBlockRows, s.rows);
    normed = scratch.Take(block * s.in_width);
    stats = scratch.Take(2 * block);
    d_normed = scratch.Take(block * s.in_width);
    in = scratch.Take(OperandScratch(s.precision, block * s.in_width));
    d_out = scratch.Take(OperandScratch(s.precision, block * widest));
    size = scratch.size();
  }
};

// Rows [begin, end) of x, normed if there is a norm.
const float* BlockInput(const NormLinearShape& shape, const float* x, const NormWeights& norm,
                        int64_t begin, int64_t end, const Buffers& buffers) {
  const float* block = x + begin * shape.in_width;
  if (norm.scale == nullptr) return block;
  LayerNormForward(end - begin, shape.in_width, block, norm.scale, norm.shift, buffers.normed,
                   buffers.stats);
  return buffers.normed;
}

std::vector<Operand> WeightOperands(const NormLinearShape& shape,
                                    const std::vector<Projection>& projections,
                                    const Buffers& buffers) {
  std::vector<Operand> operands;
  for (size_t i = 0; i < projections.size(); ++i) {
    operands.push_back(MakeOperand(shape.precision, projections[i].width, shape.in_width,
                                   projections[i].weight, shape.in_width, buffers.weights[i]));
  }
  return operands;
}

}  // namespace

int64_t NormLinearScratch(const NormLinearShape& shape,
                          const std::vector<Projection>& projections) {
  return Buffers(shape, projections, nullptr).size;
}

void NormLinearForward(const NormLinearShape& shape, const float* x, const NormWeights& norm,
                       const std::vector<Projection>& projections, const std::vector<float*>& out,
                       float* scratch) {
  const Buffers buffers(shape, projections, scratch);
  const std::vector<Operand> weights = WeightOperands(shape, projections, buffers);
  const int64_t k = shape.in_width;
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t end = std::min(begin + kBlockRows, shape.rows);
    const Operand in = MakeOperand(shape.precision, end - begin, k,
                                   BlockInput(shape, x, norm, begin, end, buffers), k, buffers.in);
    for (size_t i = 0; i < projections.size(); ++i) {
      const Projection& p = projections[i];
      const int64_t first = std::max(begin, p.first_row);
      if (first >= end) continue;
      const int64_t at = (first - p.first_row) * p.width;
      AddBias(end - first, p.width, p.bias, p.residual == nullptr ? nullptr : p.residual + at,
              p.width, out[i] + at, p.width);
      Multiply(end - first, p.width, k, in.From(first - begin), weights[i].T(), true, out[i] + at,
               p.width);
    }
  }
}

void NormLinearBackward(const NormLinearShape& shape, const float* x, const NormWeights& norm,
                        const std::vector<Projection>& projections,
                        const std::vector<ProjectionGradient>& gradients, float* d_x,
                        float* d_scale, float* d_shift, float* scratch) {
  const Buffers buffers(shape, projections, scratch);
  const std::vector<Operand> weights = WeightOperands(shape, projections, buffers);
  const int64_t k = shape.in_width;
  for (int64_t begin = 0; begin < shape.rows; begin += kBlockRows) {
    const int64_t end = std::min(begin + kBlockRows, shape.rows);
    const Operand in = MakeOperand(shape.precision, end - begin, k,
                                   BlockInput(shape, x, norm, begin, end, buffers), k, buffers.in);
    float* d_in = norm.scale == nullptr ? d_x + begin * k : buffers.d_normed;
    std::fill(d_in, d_in + (end - begin) * k, 0.0f);
    for (size_t i = 0; i < projections.size(); ++i) {
      const Projection& p = projections[i];
      const int64_t first = std::max(begin, p.first_row);
      if (first >= end) continue;
      const float* d_out = gradients[i].d_out + (first - p.first_row) * p.width;
      const Operand d_out_operand =
          MakeOperand(shape.precision, end - first, p.width, d_out, p.width, buffers.d_out);
      AddColumnSums(end - first, p.width, d_out, p.width, gradients[i].d_bias);
      Multiply(p.width, k, end - first, d_out_operand.T(), in.From(first - begin), true,
               gradients[i].d_weight, k);
      Multiply(end - first, k, p.width, d_out_operand, weights[i], true, d_in + (first - begin) * k,
               k);
    }
    if (norm.scale != nullptr) {
      LayerNormBackward(end - begin, k, x + begin * k, norm.scale, buffers.stats, d_in, nullptr,
                        d_x + begin * k, d_scale, d_shift);
    }
  }
}

}  // namespace grab
