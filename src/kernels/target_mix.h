// Mixing the channels at full tokens (DESIGN 3.4; GRAB Eq. 7), element-wise part, f32:
//   out_c = x_c + sum over i != c of sigmoid(gate_i) x_i
// for the vectors x_0 .. x_{C-1} of a row, which lie one after another; so do gate, out and
// gradients.
#pragma once

#include <cstdint>

namespace grab {

struct TargetMixShape {
  int64_t rows = 0;
  int64_t channels = 0;
  int64_t width = 0;  // of one channel
};

// gate, x, out [rows, channels * width].
void TargetMixForward(const TargetMixShape& shape, const float* gate, const float* x, float* out);

// d_x is the gradient through this part only; gate's own input adds to it.
void TargetMixBackward(const TargetMixShape& shape, const float* gate, const float* x,
                       const float* d_out, float* d_gate, float* d_x);

}  // namespace grab
