// How the forward kernel reads a tile in each format: scores q . k of a few queries with its keys,
// and sums of its values weighted by probabilities.
#if defined(GRAB_KERNELS_RAB_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_RAB_FORMATS_INL_H_
#undef GRAB_KERNELS_RAB_FORMATS_INL_H_
#else
#define GRAB_KERNELS_RAB_FORMATS_INL_H_
#endif

#include <cmath>

#include "kernels/bf16.h"
#include "kernels/rab_bias-inl.h"
#include "kernels/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

constexpr int64_t kBlockRows = 24;  // queries that share a pass over the tiles
constexpr int64_t kScoreStride = kTileKeys;

// Scratch of one block of queries.
struct ForwardScratch {
  ForwardScratch(const RabShape& shape, const TileLayout& layout, Scratch& cutter)
      : table(cutter.Take<float>(kBlockRows * TableStride(shape))),
        out(cutter.Take<float>(kBlockRows * layout.width)),
        runs(cutter.Take<QueryRuns>(kBlockRows)),
        largest(cutter.Take<float>(kBlockRows)),
        sum(cutter.Take<float>(kBlockRows * kLanesMax)),
        q_words(cutter.Take<uint32_t>(kBlockRows * layout.depth)),
        q_scale(cutter.Take<float>(kBlockRows)),
        bias(cutter.Take<float>(kTileRows * kBiasStride)),
        score(cutter.Take<float>(kBlockRows * kScoreStride)),
        p_words(cutter.Take<uint32_t>(kTileRows * kScoreStride)),
        p_scale(cutter.Take<float>(kTileRows)),
        shrink(cutter.Take<float>(kBlockRows + kLanesMax)) {}

  float* table;       // [rows][table stride] q B^T
  float* out;         // [rows][width] sums of values, not yet divided by `sum`
  QueryRuns* runs;    // [rows]
  float* largest;     // [rows] what exponents are relative to, times log2(e)
  float* sum;         // [rows][16] sums of 2^(logit - largest), by lane
  uint32_t* q_words;  // [rows][depth] queries in the tiles' format
  float* q_scale;     // [rows] kInt8
  // Of one tile:
  float* bias;        // [group][bias stride]
  float* score;       // [rows][64] logits, then probabilities
  uint32_t* p_words;  // [group][64] probabilities in the tiles' format
  float* p_scale;     // [group] kInt8
  float* shrink;      // [rows] what earlier sums are multiplied by
};

// Adds the biases to the products.
struct ScoreEpilogue {
  const float* bias;
  float* score;
  HWY_INLINE VF Begin(size_t, size_t) const { return hn::Zero(DF()); }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    const DF d;
    const VF add = hn::LoadU(d, bias + row * kBiasStride + column);
    hn::StoreU(hn::Add(sum, add), d, score + row * kScoreStride + column);
  }
};

// Continues from the sums of earlier tiles.
struct ValueEpilogue {
  const float* shrink;
  float* out;
  size_t stride;
  HWY_INLINE VF Begin(size_t row, size_t column) const {
    const DF d;
    return hn::Mul(hn::Set(d, shrink[row]), hn::LoadU(d, out + row * stride + column));
  }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    hn::StoreU(sum, DF(), out + row * stride + column);
  }
};

// Four bytes that hold the bf16 of two neighbours, rounded to nearest even.
HWY_INLINE void StoreBf16(VF v, uint16_t* to) {
  const DU d;
  const VU bits = hn::BitCast(d, v);
  const VU odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1u));
  const VU rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFFu))));
  const hn::Rebind<uint16_t, DI> d16;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(DI(), rounded)), d16, to);
}

struct KeysF32 {
  static constexpr Precision kFormat = Precision::kF32;

  // Copied together: rows of a matrix lie a power of two apart and would fight for cache sets.
  static HWY_INLINE void PackQueries(const TileLayout& layout, const RabShape&, const float* q,
                                     size_t q_stride, size_t rows, ForwardScratch& s) {
    auto* to = reinterpret_cast<float*>(s.q_words);
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(q + r * q_stride, layout.depth, to + static_cast<int64_t>(r) * layout.depth);
    }
  }
  static HWY_INLINE void Score(const TileLayout& layout, const uint32_t* tile, size_t first,
                               size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const auto depth = static_cast<size_t>(layout.depth);
    const Product<DotF32> product = {reinterpret_cast<const float*>(s.q_words) + first * depth,
                                     depth,
                                     1,
                                     reinterpret_cast<const float*>(tile),
                                     kTileKeys,
                                     depth};
    Multiply(product, rows, from, to, ScoreEpilogue{s.bias, s.score + first * kScoreStride});
  }
  static HWY_INLINE void Values(const TileLayout& layout, const uint32_t* tile, size_t first,
                                size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const auto width = static_cast<size_t>(layout.width);
    const Product<DotF32> product = {
        s.score + first * kScoreStride + from,
        kScoreStride,
        1,
        reinterpret_cast<const float*>(tile) + layout.values + from * width,
        width,
        to - from};
    Multiply(product, rows, 0, width,
             ValueEpilogue{s.shrink + first, s.out + first * width, width});
  }
};

template <class Op>
struct KeysBf16 {
  static constexpr Precision kFormat = Precision::kBf16;

  static HWY_INLINE void PackQueries(const TileLayout& layout, const RabShape& shape,
                                     const float* q, size_t q_stride, size_t rows,
                                     ForwardScratch& s) {
    const DF d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (size_t r = 0; r < rows; ++r) {
      const float* from = q + r * q_stride;
      auto* to = reinterpret_cast<uint16_t*>(s.q_words + static_cast<int64_t>(r) * layout.depth);
      int64_t i = 0;
      for (; i + lanes <= shape.head_width; i += lanes) StoreBf16(hn::LoadU(d, from + i), to + i);
      for (; i < 2 * layout.depth; ++i) to[i] = i < shape.head_width ? Bf16Bits(from[i]) : 0;
    }
  }
  static HWY_INLINE void Score(const TileLayout& layout, const uint32_t* tile, size_t first,
                               size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const auto depth = static_cast<size_t>(layout.depth);
    const Product<Op> product = {s.q_words + first * depth, depth, 1, tile, kTileKeys, depth};
    Multiply(product, rows, from, to, ScoreEpilogue{s.bias, s.score + first * kScoreStride});
  }
  static HWY_INLINE void Values(const TileLayout& layout, const uint32_t* tile, size_t first,
                                size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const DF d;
    const auto width = static_cast<size_t>(layout.width);
    for (size_t r = 0; r < rows; ++r) {
      auto* words = reinterpret_cast<uint16_t*>(s.p_words + r * kScoreStride);
      for (size_t j = from; j < to; j += hn::Lanes(d)) {
        StoreBf16(hn::LoadU(d, s.score + (first + r) * kScoreStride + j), words + j);
      }
    }
    const Product<Op> product = {
        s.p_words + from / 2, kScoreStride, 1, tile + layout.values + from / 2 * width, width,
        (to - from) / 2};
    Multiply(product, rows, 0, width,
             ValueEpilogue{s.shrink + first, s.out + first * width, width});
  }
};

// score = (u . k8 - 128 sum(k8)) * scale of the query * scale of the key, u = 8-bit query + 128
struct Int8ScoreEpilogue {
  const float* bias;
  float* score;
  const float* q_scale;
  const float* key_scale;
  const int32_t* key_sum;
  HWY_INLINE VI Begin(size_t, size_t column) const {
    const DI d;
    return hn::Sub(hn::Zero(d), hn::ShiftLeft<7>(hn::LoadU(d, key_sum + column)));
  }
  HWY_INLINE void End(size_t row, size_t column, VI sum) const {
    const DF d;
    const VF scale = hn::Mul(hn::Set(d, q_scale[row]), hn::LoadU(d, key_scale + column));
    const VF add = hn::LoadU(d, bias + row * kBiasStride + column);
    hn::StoreU(hn::MulAdd(hn::ConvertTo(d, sum), scale, add), d,
               score + row * kScoreStride + column);
  }
};

struct Int8ValueEpilogue {
  const float* shrink;
  const float* p_scale;
  float* out;
  size_t stride;
  HWY_INLINE VI Begin(size_t, size_t) const { return hn::Zero(DI()); }
  HWY_INLINE void End(size_t row, size_t column, VI sum) const {
    const DF d;
    float* to = out + row * stride + column;
    const VF before = hn::Mul(hn::Set(d, shrink[row]), hn::LoadU(d, to));
    hn::StoreU(hn::MulAdd(hn::ConvertTo(d, sum), hn::Set(d, p_scale[row]), before), d, to);
  }
};

template <class Op>
struct KeysInt8 {
  static constexpr Precision kFormat = Precision::kInt8;

  static HWY_INLINE void PackQueries(const TileLayout& layout, const RabShape& shape,
                                     const float* q, size_t q_stride, size_t rows,
                                     ForwardScratch& s) {
    const DF d;
    const hn::Rebind<uint8_t, DI> d8;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t whole = shape.head_width / lanes * lanes;
    for (size_t r = 0; r < rows; ++r) {
      const float* from = q + r * q_stride;
      VF most = hn::Zero(d);
      for (int64_t i = 0; i < whole; i += lanes) {
        most = hn::Max(most, hn::Abs(hn::LoadU(d, from + i)));
      }
      float largest = Largest(most);
      for (int64_t i = whole; i < shape.head_width; ++i) {
        largest = std::max(largest, std::abs(from[i]));
      }
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      s.q_scale[r] = largest / 127.0f;
      auto* to = reinterpret_cast<uint8_t*>(s.q_words + static_cast<int64_t>(r) * layout.depth);
      for (int64_t i = 0; i < whole; i += lanes) {
        const VI rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, from + i), hn::Set(d, inverse)));
        hn::StoreU(hn::DemoteTo(d8, hn::Add(rounded, hn::Set(DI(), 128))), d8, to + i);
      }
      for (int64_t i = whole; i < 4 * layout.depth; ++i) {
        const float scaled = i < shape.head_width ? from[i] * inverse : 0.0f;
        to[i] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(scaled)) + 128);
      }
    }
  }
  static HWY_INLINE void Score(const TileLayout& layout, const uint32_t* tile, size_t first,
                               size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const auto depth = static_cast<size_t>(layout.depth);
    const Product<Op> product = {s.q_words + first * depth, depth, 1, tile, kTileKeys, depth};
    const auto* scales = reinterpret_cast<const float*>(tile + layout.scales);
    Multiply(product, rows, from, to,
             Int8ScoreEpilogue{s.bias, s.score + first * kScoreStride, s.q_scale + first, scales,
                               reinterpret_cast<const int32_t*>(scales + kTileKeys)});
  }
  // Probabilities take the scales of the values, then 8 bits of their own row and tile.
  static HWY_INLINE void Values(const TileLayout& layout, const uint32_t* tile, size_t first,
                                size_t rows, size_t from, size_t to, ForwardScratch& s) {
    const DF d;
    const size_t lanes = hn::Lanes(d);
    const hn::Rebind<uint8_t, DI> d8;
    const auto width = static_cast<size_t>(layout.width);
    const float* value_scale = reinterpret_cast<const float*>(tile + layout.scales) + 2 * kTileKeys;
    for (size_t r = 0; r < rows; ++r) {
      float* p = s.score + (first + r) * kScoreStride;
      VF most = hn::Zero(d);
      for (size_t j = from; j < to; j += lanes) {
        const VF scaled = hn::Mul(hn::LoadU(d, p + j), hn::LoadU(d, value_scale + j));
        most = hn::Max(most, scaled);
        hn::StoreU(scaled, d, p + j);
      }
      const float largest = Largest(most);
      s.p_scale[r] = largest / 255.0f;
      const VF inverse = hn::Set(d, largest > 0.0f ? 255.0f / largest : 0.0f);
      auto* words = reinterpret_cast<uint8_t*>(s.p_words + r * kScoreStride);
      for (size_t j = from; j < to; j += lanes) {
        const VI rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, p + j), inverse));
        hn::StoreU(hn::DemoteTo(d8, rounded), d8, words + j);
      }
    }
    const Product<Op> product = {
        s.p_words + from / 4, kScoreStride, 1, tile + layout.values + from / 4 * width, width,
        (to - from) / 4};
    Multiply(product, rows, 0, width,
             Int8ValueEpilogue{s.shrink + first, s.p_scale, s.out + first * width, width});
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_RAB_FORMATS_INL_H_
