// The one inner loop of every SIMD kernel here: R rows times V vectors of columns,
//   acc[r][v] += sum over s: Dot(a[r * a_row + s * a_step], b[s * b_step + v * lanes ...])
// over `steps` words of 4 bytes. A word is one f32, two bf16 or four 8-bit integers, so that all
// three formats share one layout of b: [steps][columns] words, and one loop.
//
// Included once per SIMD target (Highway's foreach_target).
#if defined(GRAB_KERNELS_DOT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_DOT_TILE_INL_H_
#undef GRAB_KERNELS_DOT_TILE_INL_H_
#else
#define GRAB_KERNELS_DOT_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::ScalableTag<int32_t>;
using DU = hn::ScalableTag<uint32_t>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;

// f32: one multiply-add a word.
struct DotF32 {
  using Word = float;
  using Acc = VF;
  static HWY_INLINE Acc Zero() { return hn::Zero(DF()); }
  static HWY_INLINE VF Load(const float* b) { return hn::LoadU(DF(), b); }
  static HWY_INLINE VF Broadcast(const float* a) { return hn::Set(DF(), *a); }
  static HWY_INLINE Acc Add(VF a, VF b, Acc acc) { return hn::MulAdd(a, b, acc); }
};

// Pairs of bf16, f32 sums, widened in registers: exact products on any target.
struct DotBf16 {
  using Word = uint32_t;
  using Acc = VF;
  static HWY_INLINE Acc Zero() { return hn::Zero(DF()); }
  static HWY_INLINE VU Load(const uint32_t* b) { return hn::LoadU(DU(), b); }
  static HWY_INLINE VU Broadcast(const uint32_t* a) { return hn::Set(DU(), *a); }
  static HWY_INLINE VF Low(VU x) { return hn::BitCast(DF(), hn::ShiftLeft<16>(x)); }
  static HWY_INLINE VF High(VU x) {
    return hn::BitCast(DF(), hn::And(x, hn::Set(DU(), 0xFFFF0000u)));
  }
  static HWY_INLINE Acc Add(VU a, VU b, Acc acc) {
    return hn::MulAdd(High(a), High(b), hn::MulAdd(Low(a), Low(b), acc));
  }
};

// Quads of u8 (a) times s8 (b), exact s32 sums.
struct DotInt8 {
  using Word = uint32_t;
  using Acc = VI;
  static HWY_INLINE Acc Zero() { return hn::Zero(DI()); }
  static HWY_INLINE VU Load(const uint32_t* b) { return hn::LoadU(DU(), b); }
  static HWY_INLINE VU Broadcast(const uint32_t* a) { return hn::Set(DU(), *a); }
  template <int kByte>
  static HWY_INLINE Acc AddByte(VU a, VU b, Acc acc) {
    const VU unsigned_byte = hn::And(hn::ShiftRight<8 * kByte>(a), hn::Set(DU(), 0xFFu));
    const VI signed_byte = hn::ShiftRight<24>(hn::BitCast(DI(), hn::ShiftLeft<24 - 8 * kByte>(b)));
    return hn::Add(acc, hn::Mul(hn::BitCast(DI(), unsigned_byte), signed_byte));
  }
  static HWY_INLINE Acc Add(VU a, VU b, Acc acc) {
    return AddByte<3>(a, b, AddByte<2>(a, b, AddByte<1>(a, b, AddByte<0>(a, b, acc))));
  }
};

#if HWY_TARGET == HWY_AVX3
// The instructions of AVX512_BF16 and AVX512_VNNI, which no Highway 1.0 target holds. Only for
// processors where HasDotInstructions() (kernels/simd_target.h). In assembly, because a compiler
// flag would leak the extension into the whole target.
struct DotBf16Native : DotBf16 {
  static HWY_INLINE Acc Add(VU a, VU b, Acc acc) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
};
struct DotInt8Native : DotInt8 {
  static HWY_INLINE Acc Add(VU a, VU b, Acc acc) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
};
#else
using DotBf16Native = DotBf16;
using DotInt8Native = DotInt8;
#endif

template <class Op, int R, int V>
HWY_INLINE void DotTile(const typename Op::Word* HWY_RESTRICT a, size_t a_row, size_t a_step,
                        const typename Op::Word* HWY_RESTRICT b, size_t b_step, size_t steps,
                        typename Op::Acc (&acc)[R][V]) {
  const size_t lanes = hn::Lanes(DU());
  for (size_t s = 0; s < steps; ++s) {
    decltype(Op::Load(b)) column[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) column[v] = Op::Load(b + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto row = Op::Broadcast(a + r * a_row);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[r][v] = Op::Add(row, column[v], acc[r][v]);
    }
    a += a_step;
    b += b_step;
  }
}

// Rows and vectors of the largest tile that fits the registers.
#if HWY_TARGET <= HWY_AVX3
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
#else
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;
#endif

// Operands of a product out[m, n] = a[m, steps] b[steps, n], in words. a is read at
// a[row * a_row + step * a_step], so that it may be transposed; rows of b are contiguous.
template <class Op>
struct Product {
  const typename Op::Word* a;
  size_t a_row;
  size_t a_step;
  const typename Op::Word* b;
  size_t b_step;
  size_t steps;
};

// Epilogue: Begin(row, column) is the vector the sums of columns [column, column + lanes) start
// from, End(row, column, sums) takes them.
template <class Op, int R, int V, class Epilogue>
HWY_NOINLINE void OneTile(const Product<Op>& product, size_t row, size_t column,
                          const Epilogue& epilogue) {
  const size_t lanes = hn::Lanes(DU());
  typename Op::Acc acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = epilogue.Begin(row + r, column + v * lanes);
  }
  DotTile<Op, R, V>(product.a + row * product.a_row, product.a_row, product.a_step,
                    product.b + column, product.b_step, product.steps, acc);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) epilogue.End(row + r, column + v * lanes, acc[r][v]);
  }
}

template <class Op, int V, class Epilogue>
HWY_INLINE void ColumnTiles(const Product<Op>& product, size_t rows, size_t column,
                            const Epilogue& epilogue) {
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    OneTile<Op, kTileRows, V>(product, row, column, epilogue);
  }
  if constexpr (kTileRows > 4) {
    if (rows - row >= 4) {
      OneTile<Op, 4, V>(product, row, column, epilogue);
      row += 4;
    }
  }
  if (rows - row >= 2) {
    OneTile<Op, 2, V>(product, row, column, epilogue);
    row += 2;
  }
  if (rows - row >= 1) OneTile<Op, 1, V>(product, row, column, epilogue);
}

// Rows [0, rows) and columns [column_begin, column_end), whole vectors.
template <class Op, class Epilogue>
HWY_INLINE void Multiply(const Product<Op>& product, size_t rows, size_t column_begin,
                         size_t column_end, const Epilogue& epilogue) {
  const size_t lanes = hn::Lanes(DU());
  size_t column = column_begin;
  for (; column + kTileVectors * lanes <= column_end; column += kTileVectors * lanes) {
    ColumnTiles<Op, kTileVectors>(product, rows, column, epilogue);
  }
  if constexpr (kTileVectors > 2) {
    if (column + 2 * lanes <= column_end) {
      ColumnTiles<Op, 2>(product, rows, column, epilogue);
      column += 2 * lanes;
    }
  }
  if (column < column_end) ColumnTiles<Op, 1>(product, rows, column, epilogue);
}

// Overwrites out, or adds to it.
struct StoreProduct {
  float* out;
  size_t stride;
  HWY_INLINE VF Begin(size_t, size_t) const { return hn::Zero(DF()); }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    hn::StoreU(sum, DF(), out + row * stride + column);
  }
};
struct AddProduct {
  float* out;
  size_t stride;
  HWY_INLINE VF Begin(size_t row, size_t column) const {
    return hn::LoadU(DF(), out + row * stride + column);
  }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    hn::StoreU(sum, DF(), out + row * stride + column);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_DOT_TILE_INL_H_
