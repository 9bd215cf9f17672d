#include "kernels/embedding_pool.h"

#include <algorithm>

namespace grab {

template <class T>
void EmbeddingPoolForward(const PoolPairs& pairs, const T* table, int64_t width, T* out,
                          int64_t out_stride) {
  for (int64_t r = 0; r < pairs.rows; ++r) {
    T* row = out + r * out_stride;
    std::fill(row, row + width, T(0));
    for (uint32_t i = pairs.offsets[r]; i < pairs.offsets[r + 1]; ++i) {
      const T* from = table + static_cast<int64_t>(pairs.index[i]) * width;
      const T weight = static_cast<T>(pairs.weight[i]);
      for (int64_t d = 0; d < width; ++d) row[d] += weight * from[d];
    }
  }
}

template <class T>
void EmbeddingPoolBackward(const PoolPairs& pairs, const T* d_out, int64_t out_stride,
                           int64_t width, T* d_table) {
  for (int64_t r = 0; r < pairs.rows; ++r) {
    const T* row = d_out + r * out_stride;
    for (uint32_t i = pairs.offsets[r]; i < pairs.offsets[r + 1]; ++i) {
      T* to = d_table + static_cast<int64_t>(pairs.index[i]) * width;
      const T weight = static_cast<T>(pairs.weight[i]);
      for (int64_t d = 0; d < width; ++d) to[d] += weight * row[d];
    }
  }
}

template void EmbeddingPoolForward<double>(const PoolPairs&, const double*, int64_t, double*,
                                           int64_t);
template void EmbeddingPoolBackward<double>(const PoolPairs&, const double*, int64_t, int64_t,
                                            double*);

}  // namespace grab
