// The left sides of packed products: conversion and layer norm.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/packed_linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_rows.cc"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "hwy/highway.h"
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// Calls f(i, count, load) for every vector of a row; load(p) reads elements i .. of p, zeros beyond
// the row.
template <class F>
HWY_INLINE void EachVector(int64_t n, F f) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    f(i, lanes, [&](const float* p) { return hn::LoadU(d, p + i); });
  }
  if (i == n) return;
  f(i, n - i, [&](const float* p) {
    HWY_ALIGN float tail[HWY_MAX_BYTES / sizeof(float)] = {};
    std::copy(p + i, p + n, tail);
    return hn::Load(d, tail);
  });
}

HWY_INLINE void StoreFirst(VF v, int64_t count, float* to) {
  const DF d;
  if (count == static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(v, d, to);
  HWY_ALIGN float tail[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, d, tail);
  std::copy(tail, tail + count, to);
}

void NormRow(int64_t k, const float* in, const float* scale, const float* shift, float* out) {
  const DF d;
  VF sum = hn::Zero(d);
  EachVector(k, [&](int64_t, int64_t, auto load) { sum = hn::Add(sum, load(in)); });
  const float mean = Sum(sum) / static_cast<float>(k);
  const VF means = hn::Set(d, mean);
  VF squares = hn::Zero(d);
  EachVector(k, [&](int64_t, int64_t count, auto load) {
    const auto there = hn::FirstN(d, static_cast<size_t>(count));
    const VF off = hn::IfThenElseZero(there, hn::Sub(load(in), means));
    squares = hn::MulAdd(off, off, squares);
  });
  const float variance = Sum(squares) / static_cast<float>(k);
  const VF inverse = hn::Set(d, 1.0f / std::sqrt(variance + 1e-5f));
  EachVector(k, [&](int64_t i, int64_t count, auto load) {
    const VF normal = hn::Mul(hn::Sub(load(in), means), inverse);
    StoreFirst(hn::MulAdd(normal, load(scale), load(shift)), count, out + i);
  });
}

// Rounds to nearest even; what is not a number stays so.
void Bf16Row(int64_t k, const float* in, uint16_t* out) {
  const DU d;
  const hn::Rebind<uint16_t, DU> half;
  EachVector(k, [&](int64_t i, int64_t, auto load) {
    const VF value = load(in);
    const auto bits = hn::BitCast(d, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1u));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFFu)));
    const auto nan = hn::RebindMask(d, hn::IsNaN(value));
    const auto kept = hn::IfThenElse(nan, hn::Set(d, 0x7FC00000u), rounded);
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(DI(), hn::ShiftRight<16>(kept))), half, out + i);
  });
}

// x = low + scale * u8, with 0 in the range.
void Int8Row(int64_t k, const float* in, uint8_t* out, float* scale, float* low) {
  const DF d;
  const hn::Rebind<uint8_t, DF> bytes;
  VF smallest = hn::Zero(d);
  VF largest = hn::Zero(d);
  EachVector(k, [&](int64_t, int64_t, auto load) {
    const VF value = load(in);
    smallest = hn::Min(smallest, value);
    largest = hn::Max(largest, value);
  });
  *low = hn::GetLane(hn::MinOfLanes(d, smallest));
  const float range = Largest(largest) - *low;
  *scale = range / 255.0f;
  const VF inverse = hn::Set(d, range > 0.0f ? 255.0f / range : 0.0f);
  const VF lows = hn::Set(d, *low);
  EachVector(k, [&](int64_t i, int64_t, auto load) {
    const auto level = hn::NearestInt(hn::Mul(hn::Sub(load(in), lows), inverse));
    hn::StoreU(hn::DemoteTo(bytes, level), bytes, out + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {
namespace {

// Vectors of any target end inside a row's memory.
int64_t PaddedWidth(int64_t k) { return (k + 63) / 64 * 64; }

// Words between rows: an odd number of cache lines, or rows would share few sets of the cache.
int64_t RowWords(Precision format, int64_t k) {
  const int64_t words = PaddedWidth(k) / WordElements(format);
  return words + (words % 32 == 0 ? 16 : 0);
}

}  // namespace

HWY_EXPORT(NormRow);
HWY_EXPORT(Bf16Row);
HWY_EXPORT(Int8Row);

namespace {

// Where the rows of a scratch lie.
struct Scratch {
  Precision format;
  int64_t stride;
  uint32_t* words;
  float* scale;
  float* low;
  float* row;  // one row of f32

  Scratch(Precision of_format, int64_t rows, int64_t k, void* memory)
      : format(of_format),
        stride(RowWords(format, k)),
        words(static_cast<uint32_t*>(memory)),
        scale(static_cast<float*>(memory) + rows * stride),
        low(scale + (rows + 15) / 16 * 16),
        row(low + (rows + 15) / 16 * 16) {}

  void Put(int64_t r, int64_t k, const float* in) const {
    if (format == Precision::kBf16) {
      auto* to = reinterpret_cast<uint16_t*>(words + r * stride);
      if (k % 2 != 0) to[k] = 0;  // half a word that vectors of one lane leave as it was
      HWY_DYNAMIC_DISPATCH(Bf16Row)(k, in, to);
    } else {
      auto* to = reinterpret_cast<uint8_t*>(words + r * stride);
      HWY_DYNAMIC_DISPATCH(Int8Row)(k, in, to, scale + r, low + r);
    }
  }
  LinearRows View() const {
    if (format == Precision::kInt8) return {words, stride, scale, low};
    return {words, stride, nullptr, nullptr};
  }
};

}  // namespace

size_t LinearRowsBytes(Precision format, int64_t rows, int64_t k) {
  const int64_t words = rows * RowWords(format, k) + 2 * ((rows + 15) / 16 * 16) + PaddedWidth(k);
  return static_cast<size_t>(words) * 4;
}

LinearRows ConvertRows(Precision format, int64_t rows, int64_t k, const float* in,
                       int64_t in_stride, void* scratch) {
  if (format == Precision::kF32) return {in, in_stride, nullptr, nullptr};
  const Scratch to(format, rows, k, scratch);
  for (int64_t r = 0; r < rows; ++r) to.Put(r, k, in + r * in_stride);
  return to.View();
}

LinearRows NormRows(Precision format, int64_t rows, int64_t k, const float* in, int64_t in_stride,
                    const float* scale, const float* shift, void* scratch) {
  const Scratch to(format, rows, k, scratch);
  for (int64_t r = 0; r < rows; ++r) {
    const bool f32 = format == Precision::kF32;
    float* row = f32 ? reinterpret_cast<float*>(to.words + r * to.stride) : to.row;
    HWY_DYNAMIC_DISPATCH(NormRow)(k, in + r * in_stride, scale, shift, row);
    if (!f32) to.Put(r, k, row);
  }
  return to.View();
}

void NormInPlace(int64_t rows, int64_t k, const float* scale, const float* shift, float* x,
                 int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    HWY_DYNAMIC_DISPATCH(NormRow)(k, x + r * stride, scale, shift, x + r * stride);
  }
}

}  // namespace grab
#endif  // HWY_ONCE
