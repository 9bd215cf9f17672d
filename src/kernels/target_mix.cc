#include "kernels/target_mix.h"

#include <algorithm>

#include "kernels/vector_ops.h"

namespace grab {

void TargetMixForward(const TargetMixShape& shape, const float* gate, const float* x, float* out) {
  const int64_t width = shape.width;
  for (int64_t r = 0; r < shape.rows; ++r) {
    std::copy(x, x + shape.channels * width, out);
    for (int64_t i = 0; i < shape.channels; ++i) {
      for (int64_t c = 0; c < shape.channels; ++c) {
        if (c != i) AddGated(width, gate + i * width, x + i * width, out + c * width);
      }
    }
    gate += shape.channels * width;
    x += shape.channels * width;
    out += shape.channels * width;
  }
}

void TargetMixBackward(const TargetMixShape& shape, const float* gate, const float* x,
                       const float* d_out, float* d_gate, float* d_x) {
  const int64_t width = shape.width;
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t i = 0; i < shape.channels; ++i) {
      // What reaches the gated x_i: the gradients of all other channels.
      float* through = d_gate + i * width;
      std::fill(through, through + width, 0.0f);
      for (int64_t c = 0; c < shape.channels; ++c) {
        if (c != i) AddTo(width, d_out + c * width, through);
      }
      GateBackward(width, gate + i * width, x + i * width, through, d_gate + i * width,
                   d_x + i * width);
      AddTo(width, d_out + i * width, d_x + i * width);
    }
    gate += shape.channels * width;
    x += shape.channels * width;
    d_out += shape.channels * width;
    d_gate += shape.channels * width;
    d_x += shape.channels * width;
  }
}

}  // namespace grab
