// The f32 pooling, for whatever SIMD the machine has; embedding_pool.cc has the plain loops.
#include "kernels/embedding_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding_pool_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// to += scale * from
HWY_INLINE void AddRow(int64_t width, float scale, const float* from, float* to) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> few;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto few_lanes = static_cast<int64_t>(hn::Lanes(few));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    hn::StoreU(hn::MulAdd(hn::Set(d, scale), hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d,
               to + i);
  }
  for (; i + few_lanes <= width; i += few_lanes) {
    hn::StoreU(hn::MulAdd(hn::Set(few, scale), hn::LoadU(few, from + i), hn::LoadU(few, to + i)),
               few, to + i);
  }
  for (; i < width; ++i) to[i] += scale * from[i];
}

// Columns [i, i + lanes of d) of one token: the sum stays in a register.
template <class D>
HWY_INLINE void PoolColumns(D d, const PoolPairs& pairs, int64_t r, const float* table,
                            int64_t width, int64_t i, float* to) {
  auto sum = hn::Zero(d);
  for (uint32_t p = pairs.offsets[r]; p < pairs.offsets[r + 1]; ++p) {
    const float* from = table + static_cast<int64_t>(pairs.index[p]) * width;
    sum = hn::MulAdd(hn::Set(d, pairs.weight[p]), hn::LoadU(d, from + i), sum);
  }
  hn::StoreU(sum, d, to + i);
}

void PoolForward(const PoolPairs& pairs, const float* table, int64_t width, float* out,
                 int64_t out_stride) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> few;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto few_lanes = static_cast<int64_t>(hn::Lanes(few));
  for (int64_t r = 0; r < pairs.rows; ++r) {
    float* to = out + r * out_stride;
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) PoolColumns(d, pairs, r, table, width, i, to);
    for (; i + few_lanes <= width; i += few_lanes) {
      PoolColumns(few, pairs, r, table, width, i, to);
    }
    for (; i < width; ++i) PoolColumns(one, pairs, r, table, width, i, to);
  }
}

void PoolBackward(const PoolPairs& pairs, const float* d_out, int64_t out_stride, int64_t width,
                  float* d_table) {
  for (int64_t r = 0; r < pairs.rows; ++r) {
    for (uint32_t i = pairs.offsets[r]; i < pairs.offsets[r + 1]; ++i) {
      AddRow(width, pairs.weight[i], d_out + r * out_stride,
             d_table + static_cast<int64_t>(pairs.index[i]) * width);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(PoolForward);
HWY_EXPORT(PoolBackward);

template <>
void EmbeddingPoolForward<float>(const PoolPairs& pairs, const float* table, int64_t width,
                                 float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(PoolForward)(pairs, table, width, out, out_stride);
}

template <>
void EmbeddingPoolBackward<float>(const PoolPairs& pairs, const float* d_out, int64_t out_stride,
                                  int64_t width, float* d_table) {
  HWY_DYNAMIC_DISPATCH(PoolBackward)(pairs, d_out, out_stride, width, d_table);
}

}  // namespace grab
#endif  // HWY_ONCE
