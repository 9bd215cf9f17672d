#include "kernels/dense_ops.h"

#include <dnnl.h>

#include <cmath>

namespace grab {

Status Linear(int64_t m, int64_t n, int64_t k, const float* in, int64_t in_stride,
              const float* weight, const float* bias, float* out, int64_t out_stride) {
  if (m == 0) return absl::OkStatus();
  const dnnl_status_t status =
      dnnl_sgemm('N', 'T', m, n, k, 1.0f, in, in_stride, weight, k, 0.0f, out, out_stride);
  if (status != dnnl_success) {
    return absl::InternalError(absl::StrCat("oneDNN sgemm ", m, " x ", n, " x ", k,
                                            " failed with status ", static_cast<int>(status)));
  }
  if (bias == nullptr) return absl::OkStatus();
  for (int64_t r = 0; r < m; ++r) Add(n, bias, out + r * out_stride);
  return absl::OkStatus();
}

void LayerNorm(int64_t rows, int64_t width, const float* in, const float* scale, const float* shift,
               float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = in + r * width;
    float* y = out + r * width;
    double mean = 0.0;
    for (int64_t d = 0; d < width; ++d) mean += x[d];
    mean /= static_cast<double>(width);
    double variance = 0.0;
    for (int64_t d = 0; d < width; ++d) variance += (x[d] - mean) * (x[d] - mean);
    variance /= static_cast<double>(width);
    const double inverse = 1.0 / std::sqrt(variance + 1e-5);
    for (int64_t d = 0; d < width; ++d) {
      y[d] = static_cast<float>((x[d] - mean) * inverse) * scale[d] + shift[d];
    }
  }
}

void Gelu(int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = 0.5f * x[i] * (1.0f + std::erf(x[i] * 0.70710678f));
}

void SigmoidGate(int64_t n, const float* gate, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] /= 1.0f + std::exp(-gate[i]);
}

void Add(int64_t n, const float* y, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

}  // namespace grab
