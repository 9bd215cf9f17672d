#include "kernels/vector_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_ops.cc"
// The order matters.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// body(d, i) for every i at which a vector of type d starts; the tail in vectors of 4 and of 1.
template <class Body>
HWY_INLINE void ForEachVector(int64_t n, const Body& body) {
  const hn::ScalableTag<float> full;
  const hn::CappedTag<float, 4> four;
  const hn::CappedTag<float, 1> one;
  int64_t i = 0;
  const auto lanes = static_cast<int64_t>(hn::Lanes(full));
  for (; i + lanes <= n; i += lanes) body(full, i);
  const auto few = static_cast<int64_t>(hn::Lanes(four));
  for (; i + few <= n; i += few) body(four, i);
  for (; i < n; ++i) body(one, i);
}

// Phi(x), the normal distribution function, and exp(-x^2 / 2). Phi = 1 - erfc(x / sqrt 2) / 2 for
// x >= 0, by symmetry below; erfc by Abramowitz and Stegun 7.1.26, whose error is 1.5e-7.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void NormalCdf(D d, V x, V& cdf, V& bell) {
  const V one = hn::Set(d, 1.0f);
  const V z = hn::Abs(x);
  const V t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f * 0.70710678f), one));
  bell = hn::Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  V poly = hn::MulAdd(t, hn::Set(d, 1.061405429f), hn::Set(d, -1.453152027f));
  poly = hn::MulAdd(poly, t, hn::Set(d, 1.421413741f));
  poly = hn::MulAdd(poly, t, hn::Set(d, -0.284496736f));
  poly = hn::MulAdd(poly, t, hn::Set(d, 0.254829592f));
  const V tail = hn::Mul(hn::Mul(hn::Mul(poly, t), bell), hn::Set(d, 0.5f));
  cdf = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  // Below -87 the exponential would overflow; the sigmoid is 0 to f32 long before.
  const V exponential = hn::Exp(d, hn::Neg(hn::Max(x, hn::Set(d, -87.0f))));
  return hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), exponential));
}

void GeluForward(int64_t n, const float* x, float* y) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    auto cdf = v, bell = v;
    NormalCdf(d, v, cdf, bell);
    hn::StoreU(hn::Mul(v, cdf), d, y + i);
  });
}

void GeluBackward(int64_t n, const float* x, const float* d_y, float* y, float* d_x) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    const auto dv = hn::LoadU(d, d_y + i);
    auto cdf = v, bell = v;
    NormalCdf(d, v, cdf, bell);
    const auto slope = hn::MulAdd(hn::Mul(v, bell), hn::Set(d, 0.398942280f), cdf);
    hn::StoreU(hn::Mul(v, cdf), d, y + i);
    hn::StoreU(hn::Mul(dv, slope), d, d_x + i);
  });
}

void GateForward(int64_t n, const float* gate, const float* x, float* out) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto open = Sigmoid(d, hn::LoadU(d, gate + i));
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), open), d, out + i);
  });
}

void AddGated(int64_t n, const float* gate, const float* x, float* out) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto open = Sigmoid(d, hn::LoadU(d, gate + i));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, x + i), open, hn::LoadU(d, out + i)), d, out + i);
  });
}

void GateBackward(int64_t n, const float* gate, const float* x, const float* d_out, float* d_gate,
                  float* d_x) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto open = Sigmoid(d, hn::LoadU(d, gate + i));
    const auto v = hn::LoadU(d, x + i);
    const auto through = hn::Mul(hn::LoadU(d, d_out + i), open);
    const auto shut = hn::Sub(hn::Set(d, 1.0f), open);
    hn::StoreU(hn::Mul(hn::Mul(through, v), shut), d, d_gate + i);
    hn::StoreU(through, d, d_x + i);
  });
}

void AddTo(int64_t n, const float* y, float* x) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  });
}

void AddBias(int64_t rows, int64_t width, const float* bias, const float* x, int64_t x_stride,
             float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    float* to = out + r * out_stride;
    const float* from = x == nullptr ? nullptr : x + r * x_stride;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      auto v = hn::LoadU(d, bias + i);
      if (from != nullptr) v = hn::Add(v, hn::LoadU(d, from + i));
      hn::StoreU(v, d, to + i);
    });
  }
}

void AddColumnSums(int64_t rows, int64_t width, const float* x, int64_t x_stride, float* sums) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* a = x + r * x_stride;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const float* p = a + i;
      const auto low = hn::Add(hn::LoadU(d, p), hn::LoadU(d, p + x_stride));
      const auto high = hn::Add(hn::LoadU(d, p + 2 * x_stride), hn::LoadU(d, p + 3 * x_stride));
      hn::StoreU(hn::Add(hn::LoadU(d, sums + i), hn::Add(low, high)), d, sums + i);
    });
  }
  for (; r < rows; ++r) AddTo(width, x + r * x_stride, sums);
}

void AddScaled(int64_t n, float scale, const float* y, float* x) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::MulAdd(hn::Set(d, scale), hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, x + i);
  });
}

double SumOfSquares(int64_t n, const float* x) {
  constexpr int64_t kPart = 1024;
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += kPart) {
    const int64_t end = begin + kPart < n ? begin + kPart : n;
    auto sum = hn::Zero(d);
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto v = hn::LoadU(d, x + i);
      sum = hn::MulAdd(v, v, sum);
    }
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
    for (; i < end; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}

void AdamWUpdate(int64_t n, const AdamWStep& step, const float* gradient, float* first,
                 float* second, float* weight) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::Mul(hn::LoadU(d, gradient + i), hn::Set(d, step.gradient_scale));
    const auto m = hn::MulAdd(hn::Set(d, step.beta1), hn::LoadU(d, first + i),
                              hn::Mul(hn::Set(d, 1.0f - step.beta1), g));
    const auto v = hn::MulAdd(hn::Set(d, step.beta2), hn::LoadU(d, second + i),
                              hn::Mul(hn::Mul(hn::Set(d, 1.0f - step.beta2), g), g));
    const auto root = hn::Sqrt(hn::Mul(v, hn::Set(d, step.inverse_correct2)));
    const auto change =
        hn::Div(hn::Mul(hn::Set(d, step.rate), m), hn::Add(root, hn::Set(d, step.epsilon)));
    hn::StoreU(m, d, first + i);
    hn::StoreU(v, d, second + i);
    hn::StoreU(hn::Sub(hn::Mul(hn::Set(d, step.keep), hn::LoadU(d, weight + i)), change), d,
               weight + i);
  });
}

void ToBf16(int64_t n, const float* x, uint16_t* y) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const auto v = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
    const auto nan = hn::Set(du, 0x7FC00000u);
    const auto kept = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), nan, rounded);
    // The value fits: the saturation of the demotion never happens.
    hn::StoreU(hn::DemoteTo(
                   d16, hn::BitCast(hn::RebindToSigned<decltype(du)>(), hn::ShiftRight<16>(kept))),
               d16, y + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(GeluForward);
HWY_EXPORT(GeluBackward);
HWY_EXPORT(GateForward);
HWY_EXPORT(AddGated);
HWY_EXPORT(GateBackward);
HWY_EXPORT(AddTo);
HWY_EXPORT(AddBias);
HWY_EXPORT(AddColumnSums);
HWY_EXPORT(AddScaled);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(AdamWUpdate);
HWY_EXPORT(ToBf16);

void GeluForward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(GeluForward)(n, x, y);
}
void GeluBackward(int64_t n, const float* x, const float* d_y, float* y, float* d_x) {
  HWY_DYNAMIC_DISPATCH(GeluBackward)(n, x, d_y, y, d_x);
}
void GateForward(int64_t n, const float* gate, const float* x, float* out) {
  HWY_DYNAMIC_DISPATCH(GateForward)(n, gate, x, out);
}
void GateBackward(int64_t n, const float* gate, const float* x, const float* d_out, float* d_gate,
                  float* d_x) {
  HWY_DYNAMIC_DISPATCH(GateBackward)(n, gate, x, d_out, d_gate, d_x);
}
void AddGated(int64_t n, const float* gate, const float* x, float* out) {
  HWY_DYNAMIC_DISPATCH(AddGated)(n, gate, x, out);
}
void AddScaled(int64_t n, float scale, const float* y, float* x) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(n, scale, y, x);
}
double SumOfSquares(int64_t n, const float* x) { return HWY_DYNAMIC_DISPATCH(SumOfSquares)(n, x); }
void AdamWUpdate(int64_t n, const AdamWStep& step, const float* gradient, float* first,
                 float* second, float* weight) {
  HWY_DYNAMIC_DISPATCH(AdamWUpdate)(n, step, gradient, first, second, weight);
}
void AddTo(int64_t n, const float* y, float* x) { HWY_DYNAMIC_DISPATCH(AddTo)(n, y, x); }
void AddBias(int64_t rows, int64_t width, const float* bias, const float* x, int64_t x_stride,
             float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(AddBias)(rows, width, bias, x, x_stride, out, out_stride);
}
void AddColumnSums(int64_t rows, int64_t width, const float* x, int64_t x_stride, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddColumnSums)(rows, width, x, x_stride, sums);
}
void ToBf16(int64_t n, const float* x, uint16_t* y) { HWY_DYNAMIC_DISPATCH(ToBf16)(n, x, y); }

}  // namespace grab
#endif  // HWY_ONCE
