#include "kernels/sparse_step.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sparse_step.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

float MeanSquare(int64_t width, const float* x) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    sum = hn::MulAdd(v, v, sum);
  }
  float squares = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < width; ++i) squares += x[i] * x[i];
  return squares / static_cast<float>(width);
}

void AdagradStep(int64_t width, const float* gradient, float rate, float* values,
                 float* accumulated) {
  *accumulated += MeanSquare(width, gradient);
  const float step = -rate / (std::sqrt(*accumulated) + 1e-10f);
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto steps = hn::Set(d, step);
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    hn::StoreU(hn::MulAdd(steps, hn::LoadU(d, gradient + i), hn::LoadU(d, values + i)), d,
               values + i);
  }
  for (; i < width; ++i) values[i] += step * gradient[i];
}

void AdagradSteps(int64_t rows, int64_t known, int64_t width, const float* gradients, float rate,
                  float* const* values) {
  constexpr int64_t kAhead = 16;
  constexpr int64_t kLineFloats = 16;
  for (int64_t i = 0; i < rows; ++i) {
    if (i + kAhead < known) {
      const float* next = values[i + kAhead];
      for (int64_t at = 0; at < width; at += kLineFloats) __builtin_prefetch(next + at, 1);
      __builtin_prefetch(next + width, 1);
    }
    AdagradStep(width, gradients + i * width, rate, values[i], values[i] + width);
  }
}

struct AdamRates {
  float rate, inverse_correct1, inverse_correct2;
};

template <class D>
HWY_INLINE void AdamAt(D d, const AdamRates& rates, const float* gradient, float* values,
                       float* first, float* second) {
  const auto g = hn::LoadU(d, gradient);
  const auto m =
      hn::MulAdd(hn::Set(d, 0.9f), hn::LoadU(d, first), hn::Mul(hn::Set(d, 1.0f - 0.9f), g));
  const auto v = hn::MulAdd(hn::Set(d, 0.999f), hn::LoadU(d, second),
                            hn::Mul(hn::Set(d, 1.0f - 0.999f), hn::Mul(g, g)));
  hn::StoreU(m, d, first);
  hn::StoreU(v, d, second);
  const auto spread =
      hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, rates.inverse_correct2))), hn::Set(d, 1e-8f));
  const auto mean = hn::Mul(m, hn::Set(d, rates.inverse_correct1));
  hn::StoreU(hn::NegMulAdd(hn::Set(d, rates.rate), hn::Div(mean, spread), hn::LoadU(d, values)), d,
             values);
}

void AdamStep(int64_t width, const float* gradient, float rate, float* values, float* first,
              float* second, float* steps) {
  *steps += 1.0f;
  const AdamRates rates = {rate, 1.0f / (1.0f - std::pow(0.9f, *steps)),
                           1.0f / (1.0f - std::pow(0.999f, *steps))};
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    AdamAt(d, rates, gradient + i, values + i, first + i, second + i);
  }
  for (; i < width; ++i) AdamAt(one, rates, gradient + i, values + i, first + i, second + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(AdagradStep);
HWY_EXPORT(AdagradSteps);
HWY_EXPORT(AdamStep);

void AdagradRowStep(int64_t width, const float* gradient, float rate, float* values,
                    float* accumulated) {
  HWY_DYNAMIC_DISPATCH(AdagradStep)(width, gradient, rate, values, accumulated);
}

void AdagradRowSteps(int64_t rows, int64_t known, int64_t width, const float* gradients, float rate,
                     float* const* values) {
  HWY_DYNAMIC_DISPATCH(AdagradSteps)(rows, known, width, gradients, rate, values);
}

void AdamRowStep(int64_t width, const float* gradient, float rate, float* values, float* first,
                 float* second, float* steps) {
  HWY_DYNAMIC_DISPATCH(AdamStep)(width, gradient, rate, values, first, second, steps);
}

}  // namespace grab
#endif  // HWY_ONCE
