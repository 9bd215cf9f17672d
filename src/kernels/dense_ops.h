// The linear layer of the libtorch-free batch forward, f32: oneDNN's product. Row-major; pointers
// are the caller's.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace grab {

// out[m, n] = in[m, k] weight[n, k]^T + bias[n] (bias may be null). The layout of weight is that of
// torch::nn::Linear.
Status Linear(int64_t m, int64_t n, int64_t k, const float* in, int64_t in_stride,
              const float* weight, const float* bias, float* out, int64_t out_stride);

}  // namespace grab
