#include "kernels/layer_norm.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

// The sum over a row of value(d, i), which gives the vector of elements from i on.
template <class Value>
HWY_INLINE float SumOver(int64_t width, const Value& value) {
  const Full d;
  const One one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= width; i += 2 * lanes) {
    even = hn::Add(even, value(d, i));
    odd = hn::Add(odd, value(d, i + lanes));
  }
  for (; i + lanes <= width; i += lanes) even = hn::Add(even, value(d, i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < width; ++i) sum += hn::GetLane(value(one, i));
  return sum;
}

template <class Body>
HWY_INLINE void ForEachVector(int64_t width, const Body& body) {
  const Full d;
  const One one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) body(d, i);
  for (; i < width; ++i) body(one, i);
}

void LayerNormForward(int64_t rows, int64_t width, const float* x, const float* scale,
                      const float* shift, float* y, float* stats) {
  const float inverse = 1.0f / static_cast<float>(width);
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    const float mean =
        inverse * SumOver(width, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, x + i); });
    const float variance = inverse * SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
                             const auto off = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean));
                             return hn::Mul(off, off);
                           });
    const float rstd = 1.0f / std::sqrt(variance + 1e-5f);
    if (stats != nullptr) {
      stats[2 * r] = mean;
      stats[2 * r + 1] = rstd;
    }
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto off = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, rstd));
      hn::StoreU(hn::MulAdd(off, hn::LoadU(d, scale + i), hn::LoadU(d, shift + i)), d, y + i);
    });
  }
}

// With g = d_y scale and n = (x - mean) rstd: d_x = rstd (g - mean(g) - n mean(g n)).
void LayerNormBackward(int64_t rows, int64_t width, const float* x, const float* scale,
                       const float* stats, const float* d_y, const float* add, float* d_x,
                       float* d_scale, float* d_shift) {
  const float inverse = 1.0f / static_cast<float>(width);
  for (int64_t r = 0; r < rows; ++r, x += width, d_y += width, d_x += width) {
    const float mean = stats[2 * r];
    const float rstd = stats[2 * r + 1];
    const auto normed = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, rstd));
    };
    const auto scaled = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::LoadU(d, d_y + i), hn::LoadU(d, scale + i));
    };
    const float g_mean = inverse * SumOver(width, scaled);
    const float gn_mean = inverse * SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
                            return hn::Mul(scaled(d, i), normed(d, i));
                          });
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto n = normed(d, i);
      const auto dy = hn::LoadU(d, d_y + i);
      hn::StoreU(hn::MulAdd(dy, n, hn::LoadU(d, d_scale + i)), d, d_scale + i);
      hn::StoreU(hn::Add(hn::LoadU(d, d_shift + i), dy), d, d_shift + i);
      const auto centred =
          hn::Sub(hn::Sub(hn::Mul(dy, hn::LoadU(d, scale + i)), hn::Set(d, g_mean)),
                  hn::Mul(n, hn::Set(d, gn_mean)));
      auto out = hn::Mul(centred, hn::Set(d, rstd));
      if (add != nullptr) out = hn::Add(out, hn::LoadU(d, add + r * width + i));
      hn::StoreU(out, d, d_x + i);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(LayerNormForward);
HWY_EXPORT(LayerNormBackward);

void LayerNormForward(int64_t rows, int64_t width, const float* x, const float* scale,
                      const float* shift, float* y, float* stats) {
  HWY_DYNAMIC_DISPATCH(LayerNormForward)(rows, width, x, scale, shift, y, stats);
}
void LayerNormBackward(int64_t rows, int64_t width, const float* x, const float* scale,
                       const float* stats, const float* d_y, const float* add, float* d_x,
                       float* d_scale, float* d_shift) {
  HWY_DYNAMIC_DISPATCH(LayerNormBackward)
  (rows, width, x, scale, stats, d_y, add, d_x, d_scale, d_shift);
}

}  // namespace grab
#endif  // HWY_ONCE
