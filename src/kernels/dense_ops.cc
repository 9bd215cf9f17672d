#include "kernels/dense_ops.h"

#include <dnnl.h>

#include "kernels/vector_ops.h"

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
  AddBias(m, n, bias, out, out_stride, out, out_stride);
  return absl::OkStatus();
}

}  // namespace grab
