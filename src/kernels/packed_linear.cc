#include "kernels/packed_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/simd_target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_linear.cc"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "hwy/highway.h"
#include "kernels/activations-inl.h"
#include "kernels/dot_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// A tile of sums, [kTileRows][columns] 4-byte words, on its way to the output.
struct alignas(64) TileSums {
  uint32_t words[kTileRows * kPanelColumns];
};

// Where a tile stands.
struct TilePlace {
  int64_t row = 0;
  int64_t rows = 0;
  int64_t column = 0;   // of the output
  int64_t columns = 0;  // that exist: fewer than a tile's at the edge
};

struct LinearCall {
  const PackedLinear& linear;
  const LinearRows& rows;
  Epilogue epilogue;
  float* out;
  int64_t out_stride;
};

HWY_INLINE int64_t TileColumns() {
  return std::min<int64_t>(kPanelColumns, kTileVectors * static_cast<int64_t>(hn::Lanes(DF())));
}

template <class Op, int R>
HWY_NOINLINE void SumTile(const typename Op::Word* a, int64_t a_row, const typename Op::Word* b,
                          int64_t steps, TileSums& sums) {
  typename Op::Acc acc[R][kTileVectors];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < kTileVectors; ++v) acc[r][v] = Op::Zero();
  }
  DotTile<Op, R, kTileVectors>(a, static_cast<size_t>(a_row), 1, b, kPanelColumns,
                               static_cast<size_t>(steps), acc);
  const auto lanes = static_cast<int64_t>(hn::Lanes(DU()));
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < kTileVectors; ++v) {
      hn::StoreU(hn::BitCast(DU(), acc[r][v]), DU(),
                 sums.words + r * kPanelColumns + static_cast<int64_t>(v) * lanes);
    }
  }
}

// y of the sums in f32.
struct FinishFloat {
  VF bias;
  FinishFloat(const LinearCall& p, int64_t column)
      : bias(hn::LoadU(DF(), p.linear.bias + column)) {}
  HWY_INLINE VF operator()(const LinearCall&, int64_t, const uint32_t* sums) const {
    return hn::Add(hn::LoadU(DF(), reinterpret_cast<const float*>(sums)), bias);
  }
};

// y of integer sums:
//   sum of (low + row_scale * a) * (scale * b) = scale * row_scale * sum(a b) + low * column
struct FinishInteger {
  VF bias, scale, column;
  FinishInteger(const LinearCall& p, int64_t at)
      : bias(hn::LoadU(DF(), p.linear.bias + at)),
        scale(hn::LoadU(DF(), p.linear.scale + at)),
        column(hn::LoadU(DF(), p.linear.column + at)) {}
  HWY_INLINE VF operator()(const LinearCall& p, int64_t row, const uint32_t* sums) const {
    const DF d;
    const VF sum = hn::ConvertTo(d, hn::LoadU(DI(), reinterpret_cast<const int32_t*>(sums)));
    const VF scaled = hn::MulAdd(hn::Mul(sum, hn::Set(d, p.rows.scale[row])), scale, bias);
    return hn::MulAdd(hn::Set(d, p.rows.low[row]), column, scaled);
  }
};

// Whole vectors of a tile to `out`: apply(former output, y).
template <class Finish, class Apply>
HWY_INLINE void EachOutput(const LinearCall& p, const TilePlace& place, const TileSums& sums,
                           float* out, int64_t out_stride, Apply apply) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < place.columns; i += lanes) {
    const Finish finish(p, place.column + i);
    for (int64_t r = 0; r < place.rows; ++r) {
      float* to = out + r * out_stride + i;
      const VF y = finish(p, place.row + r, sums.words + r * kPanelColumns + i);
      hn::StoreU(apply(to, y), d, to);
    }
  }
}

template <class Finish>
HWY_INLINE void ApplyEpilogue(const LinearCall& p, const TilePlace& place, const TileSums& sums,
                              float* out, int64_t out_stride) {
  const DF d;
  switch (p.epilogue) {
    case Epilogue::kStore:
      return EachOutput<Finish>(p, place, sums, out, out_stride,
                                [](const float*, VF y) { return y; });
    case Epilogue::kGelu:
      return EachOutput<Finish>(p, place, sums, out, out_stride,
                                [](const float*, VF y) { return Gelu(y); });
    case Epilogue::kAdd:
      return EachOutput<Finish>(p, place, sums, out, out_stride, [=](const float* to, VF y) {
        return hn::Add(hn::LoadU(d, to), y);
      });
    case Epilogue::kSigmoidGate:
      return EachOutput<Finish>(p, place, sums, out, out_stride, [=](const float* to, VF y) {
        return hn::Mul(hn::LoadU(d, to), Sigmoid(y));
      });
  }
}

HWY_NOINLINE void FinishTile(const LinearCall& p, const TilePlace& place, const TileSums& sums) {
  const auto finish = [&](float* out, int64_t stride) {
    if (p.linear.format == Precision::kInt8) {
      ApplyEpilogue<FinishInteger>(p, place, sums, out, stride);
    } else {
      ApplyEpilogue<FinishFloat>(p, place, sums, out, stride);
    }
  };
  float* out = p.out + place.row * p.out_stride + place.column;
  if (place.columns == TileColumns()) return finish(out, p.out_stride);
  alignas(64) float edge[kTileRows * kPanelColumns] = {};
  const auto bytes = static_cast<size_t>(place.columns) * sizeof(float);
  for (int64_t r = 0; r < place.rows; ++r) {
    std::memcpy(edge + r * kPanelColumns, out + r * p.out_stride, bytes);
  }
  finish(edge, kPanelColumns);
  for (int64_t r = 0; r < place.rows; ++r) {
    std::memcpy(out + r * p.out_stride, edge + r * kPanelColumns, bytes);
  }
}

template <class Op>
void SumRows(const typename Op::Word* a, int64_t a_row, const typename Op::Word* b, int64_t steps,
             int64_t rows, TileSums& sums) {
  switch (rows) {
    case 1:
      return SumTile<Op, 1>(a, a_row, b, steps, sums);
    case 2:
      return SumTile<Op, 2>(a, a_row, b, steps, sums);
    case 3:
      return SumTile<Op, 3>(a, a_row, b, steps, sums);
#if HWY_TARGET <= HWY_AVX3
    case 4:
      return SumTile<Op, 4>(a, a_row, b, steps, sums);
    case 5:
      return SumTile<Op, 5>(a, a_row, b, steps, sums);
#endif
    default:
      return SumTile<Op, kTileRows>(a, a_row, b, steps, sums);
  }
}

// Panel by panel: a panel comes from memory once, and stays in cache for all rows.
template <class Op>
void Multiply(const LinearCall& p, int64_t row_count) {
  using Word = typename Op::Word;
  const int64_t elements = WordElements(p.linear.format);
  const int64_t steps = (p.linear.k + elements - 1) / elements;
  const auto* words = static_cast<const Word*>(p.linear.words);
  const auto* a = static_cast<const Word*>(p.rows.words);
  TileSums sums;
  for (int64_t column = 0; column < p.linear.n; column += TileColumns()) {
    const Word* b = words + column / kPanelColumns * steps * kPanelColumns + column % kPanelColumns;
    TilePlace place;
    place.column = column;
    place.columns = std::min(TileColumns(), p.linear.n - column);
    for (place.row = 0; place.row < row_count; place.row += place.rows) {
      place.rows = std::min<int64_t>(kTileRows, row_count - place.row);
      SumRows<Op>(a + place.row * p.rows.stride, p.rows.stride, b, steps, place.rows, sums);
      FinishTile(p, place, sums);
    }
  }
}

void Forward(const PackedLinear& linear, const LinearRows& rows, int64_t row_count,
             Epilogue epilogue, bool dot_instructions, float* out, int64_t out_stride) {
  const LinearCall p = {linear, rows, epilogue, out, out_stride};
  switch (linear.format) {
    case Precision::kF32:
      return Multiply<DotF32>(p, row_count);
    case Precision::kBf16:
      return dot_instructions ? Multiply<DotBf16Native>(p, row_count)
                              : Multiply<DotBf16>(p, row_count);
    case Precision::kInt8:
      return dot_instructions ? Multiply<DotInt8Native>(p, row_count)
                              : Multiply<DotInt8>(p, row_count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {
namespace {

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

int64_t Steps(Precision format, int64_t k) {
  return RoundUp(k, WordElements(format)) / WordElements(format);
}

// Columns of a panel in memory: element (column, i) of a panel's words.
template <class T>
T& Element(T* panel, int64_t column, int64_t i) {
  constexpr int64_t kElements = 4 / sizeof(T);
  return panel[(i / kElements * kPanelColumns + column) * kElements + i % kElements];
}

template <class T, class Convert>
void PackPanels(int64_t n, int64_t k, const float* weight, void* words, const Convert& convert) {
  const int64_t panel_elements = RoundUp(k, static_cast<int64_t>(4 / sizeof(T))) * kPanelColumns;
  for (int64_t column = 0; column < n; ++column) {
    T* panel = static_cast<T*>(words) + column / kPanelColumns * panel_elements;
    for (int64_t i = 0; i < k; ++i) {
      Element(panel, column % kPanelColumns, i) = convert(column, weight[column * k + i]);
    }
  }
}

void PackInt8(int64_t n, int64_t k, const float* weight, void* words, float* scale,
              float* column_sum) {
  for (int64_t column = 0; column < n; ++column) {
    float largest = 0.0f;
    for (int64_t i = 0; i < k; ++i) largest = std::max(largest, std::fabs(weight[column * k + i]));
    scale[column] = largest / 127.0f;
  }
  std::fill(column_sum, column_sum + n, 0.0f);
  PackPanels<int8_t>(n, k, weight, words, [&](int64_t column, float value) {
    if (scale[column] == 0.0f) return int8_t{0};
    const float rounded = std::nearbyint(value / scale[column]);
    const float bounded = std::clamp(rounded, -127.0f, 127.0f);
    column_sum[column] += bounded;  // exact: integers below 2^24
    return static_cast<int8_t>(bounded);
  });
  for (int64_t column = 0; column < n; ++column) column_sum[column] *= scale[column];
}

}  // namespace

HWY_EXPORT(Forward);

size_t PackedLinearBytes(Precision format, int64_t n, int64_t k) {
  const int64_t columns = RoundUp(n, kPanelColumns);
  const int64_t vectors = format == Precision::kInt8 ? 3 : 1;
  return static_cast<size_t>(columns * (Steps(format, k) + vectors)) * 4;
}

PackedLinear PackLinear(Precision format, int64_t n, int64_t k, const float* weight,
                        const float* bias, void* memory) {
  GRAB_CHECK(n >= 1 && k >= 1 && k <= kLinearWidthMax);
  std::memset(memory, 0, PackedLinearBytes(format, n, k));
  const int64_t columns = RoundUp(n, kPanelColumns);
  float* vectors = static_cast<float*>(memory) + columns * Steps(format, k);
  if (bias != nullptr) std::copy(bias, bias + n, vectors);
  PackedLinear linear = {format, n, k, memory, vectors, nullptr, nullptr};
  switch (format) {
    case Precision::kF32:
      PackPanels<float>(n, k, weight, memory, [](int64_t, float value) { return value; });
      break;
    case Precision::kBf16:
      PackPanels<uint16_t>(n, k, weight, memory,
                           [](int64_t, float value) { return Bf16Bits(value); });
      break;
    case Precision::kInt8:
      linear.scale = vectors + columns;
      linear.column = vectors + 2 * columns;
      PackInt8(n, k, weight, memory, vectors + columns, vectors + 2 * columns);
      break;
  }
  return linear;
}

void PackedLinearForward(const PackedLinear& linear, const LinearRows& rows, int64_t row_count,
                         Epilogue epilogue, float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(Forward)
  (linear, rows, row_count, epilogue, HasDotInstructions(), out, out_stride);
}

}  // namespace grab
#endif  // HWY_ONCE
