// Rows of keys or values into the f32 layouts of a tile.
#if defined(GRAB_KERNELS_RAB_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_RAB_PACK_INL_H_
#undef GRAB_KERNELS_RAB_PACK_INL_H_
#else
#define GRAB_KERNELS_RAB_PACK_INL_H_
#endif

#include "kernels/rab_layout.h"
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// Four rows of four, transposed: to[i * to_stride + r] = rows[r][i].
HWY_INLINE void Transpose4(const float* const* rows, size_t at, float* to, size_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < 4; ++i) {
    for (size_t r = 0; r < 4; ++r) to[i * to_stride + r] = rows[r][at + i];
  }
#else
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> wide;
  const auto a = hn::LoadU(d, rows[0] + at);
  const auto b = hn::LoadU(d, rows[1] + at);
  const auto c = hn::LoadU(d, rows[2] + at);
  const auto e = hn::LoadU(d, rows[3] + at);
  const auto ab_low = hn::BitCast(wide, hn::InterleaveLower(d, a, b));
  const auto ce_low = hn::BitCast(wide, hn::InterleaveLower(d, c, e));
  const auto ab_high = hn::BitCast(wide, hn::InterleaveUpper(d, a, b));
  const auto ce_high = hn::BitCast(wide, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(wide, ab_low, ce_low)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(wide, ab_low, ce_low)), d, to + to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(wide, ab_high, ce_high)), d, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(wide, ab_high, ce_high)), d, to + 3 * to_stride);
#endif
}

// to[i * 64 + slot + r] = from[r * stride + i] for r < rows, i < width.
HWY_INLINE void PackTransposed(const float* from, size_t stride, size_t width, size_t slot,
                               size_t rows, float* to) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* four[4];
    for (size_t i = 0; i < 4; ++i) four[i] = from + (r + i) * stride;
    size_t i = 0;
    for (; i + 4 <= width; i += 4) {
      Transpose4(four, i, to + i * kTileKeys + slot + r, kTileKeys);
    }
    for (; i < width; ++i) {
      for (size_t k = 0; k < 4; ++k) to[i * kTileKeys + slot + r + k] = four[k][i];
    }
  }
  for (; r < rows; ++r) {
    for (size_t i = 0; i < width; ++i) to[i * kTileKeys + slot + r] = from[r * stride + i];
  }
}

// to[r * padded + i] = from[r * stride + i] + bias(r)[i], the padding zeroed. `bias` may give null.
template <class Bias>
HWY_INLINE void PackRows(const float* from, size_t stride, size_t width, size_t padded, size_t rows,
                         const Bias& bias, float* to) {
  for (size_t r = 0; r < rows; ++r, from += stride, to += padded) {
    const float* add = bias(r);
    if (add == nullptr) {
      for (size_t i = 0; i < width; ++i) to[i] = from[i];
    } else {
      for (size_t i = 0; i < width; ++i) to[i] = from[i] + add[i];
    }
    for (size_t i = width; i < padded; ++i) to[i] = 0.0f;
  }
}

struct NoBias {
  HWY_INLINE const float* operator()(size_t) const { return nullptr; }
};

// The codebook row of each key's action.
struct ActionBias {
  const int32_t* action;  // [rows]
  const float* codebook;  // [action_classes, width], of one head
  size_t width;
  HWY_INLINE const float* operator()(size_t row) const {
    return codebook + static_cast<size_t>(action[row]) * width;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_RAB_PACK_INL_H_
