// Activation functions on vectors of f32. Included once per SIMD target (Highway's foreach_target).
#if defined(GRAB_KERNELS_ACTIVATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_ACTIVATIONS_INL_H_
#undef GRAB_KERNELS_ACTIVATIONS_INL_H_
#else
#define GRAB_KERNELS_ACTIVATIONS_INL_H_
#endif

#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// erf by a rational approximation in x^2, within 5e-7; +-1 beyond 4.
HWY_INLINE VF Erf(VF x) {
  const DF d;
  const VF bounded = hn::Max(hn::Set(d, -4.0f), hn::Min(x, hn::Set(d, 4.0f)));
  const VF square = hn::Mul(bounded, bounded);
  VF above = hn::Set(d, -2.72614225801306e-10f);
  for (const float coefficient :
       {2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f,
        -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f}) {
    above = hn::MulAdd(above, square, hn::Set(d, coefficient));
  }
  VF below = hn::Set(d, -1.45660718464996e-05f);
  for (const float coefficient : {-2.13374055278905e-04f, -1.68282697438203e-03f,
                                  -7.37332916720468e-03f, -1.42647390514189e-02f}) {
    below = hn::MulAdd(below, square, hn::Set(d, coefficient));
  }
  return hn::Div(hn::Mul(bounded, above), below);
}

// x (1 + erf(x / sqrt(2))) / 2
HWY_INLINE VF Gelu(VF x) {
  const DF d;
  const VF half = hn::Mul(x, hn::Set(d, 0.5f));
  return hn::MulAdd(half, Erf(hn::Mul(x, hn::Set(d, 0.70710678f))), half);
}

// 1 / (1 + exp(-x))
HWY_INLINE VF Sigmoid(VF x) {
  const DF d;
  const VF one = hn::Set(d, 1.0f);
  // Beyond 2^127, where Exp2 ends, the result is 0 in f32.
  const VF power = hn::Min(hn::Mul(x, hn::Set(d, -1.44269504f)), hn::Set(d, 127.0f));
  return hn::Div(one, hn::Add(one, Exp2(power)));
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_ACTIVATIONS_INL_H_
