// Vector helpers of the SIMD kernels, once per target.
#if defined(GRAB_KERNELS_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_SIMD_MATH_INL_H_
#undef GRAB_KERNELS_SIMD_MATH_INL_H_
#else
#define GRAB_KERNELS_SIMD_MATH_INL_H_
#endif

#include "kernels/dot_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// 2^x for x <= 127, relative error below 2e-7; exactly 0 for x <= -127, -infinity included.
// 2^x = 2^n 2^f with n the nearest integer; 2^f by a minimax polynomial of degree 5 whose constant
// term is 1.
HWY_INLINE VF Exp2(VF x) {
  const DF d;
  x = hn::Max(x, hn::Set(d, -127.0f));
  const VF n = hn::Round(x);
  const VF f = hn::Sub(x, n);
  VF p = hn::Set(d, 0.0013264724050628923f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009671512888986598f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.055507337536827454f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022242079940176f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931469775919674f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const VI exponent = hn::ShiftLeft<23>(hn::ConvertTo(DI(), n));
  return hn::BitCast(d, hn::Add(hn::BitCast(DI(), p), exponent));
}

HWY_INLINE float Sum(VF v) { return hn::GetLane(hn::SumOfLanes(DF(), v)); }
HWY_INLINE float Largest(VF v) { return hn::GetLane(hn::MaxOfLanes(DF(), v)); }

// sum over d < n: a[d] b[d]. Reads nothing beyond n.
HWY_INLINE float DotRows(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF sum = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  float total = Sum(sum);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// to[d] += scale from[d] for d < n. Touches nothing beyond n.
HWY_INLINE void AddScaledRow(const float* HWY_RESTRICT from, float scale, size_t n,
                             float* HWY_RESTRICT to) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF factor = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d, to + i);
  }
  for (; i < n; ++i) to[i] += scale * from[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_SIMD_MATH_INL_H_
