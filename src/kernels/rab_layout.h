// Sizes and columns that the RAB kernels share: the layout of a tile of keys, and of the row of
// products q B^T ("table") that every query has.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/rab_simd.h"

namespace grab {

constexpr int64_t kBucketsMax = 4096;

inline int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Values and outputs of a head are padded to the widest vector of any target.
constexpr int64_t kLanesMax = 16;
inline int64_t PaddedWidth(const RabShape& shape) { return RoundUp(shape.head_width, kLanesMax); }

// Columns of a table: positions by falling distance, so that consecutive keys read consecutive
// columns; then times; then the sum of the three biases of a token attending itself. Bucket 0 of
// positions and times is the self bucket and has no column of its own.
inline int64_t PositionColumn(const RabShape& shape, int64_t bucket) {
  return shape.position_buckets - 1 - bucket;
}
inline int64_t TimeColumn(const RabShape& shape, int64_t bucket) {
  return shape.position_buckets - 1 + bucket - 1;
}
inline int64_t SelfColumn(const RabShape& shape) {
  return shape.position_buckets + shape.time_buckets - 2;
}
inline int64_t TableColumns(const RabShape& shape) { return SelfColumn(shape) + 1; }
// Floats between tables: what copying a run may read past its end is still inside.
inline int64_t TableStride(const RabShape& shape) {
  return RoundUp(TableColumns(shape), kLanesMax) + kLanesMax;
}
inline int64_t CodebookPanels(const RabShape& shape) {
  return RoundUp(TableColumns(shape), kTileKeys) / kTileKeys;
}

// One head of a tile, in words of 4 bytes (kernels/dot_tile-inl.h):
//   keys    [depth][64]      depth = words of one key
//   values  [64 / per_word][padded width]
//   kInt8 also: key scale [64] f32, key sum [64] s32 (of the 8-bit key), value scale [64] f32
struct TileLayout {
  TileLayout(const RabShape& shape, Precision format)
      : per_word(format == Precision::kF32    ? 1
                 : format == Precision::kBf16 ? 2
                                              : 4),
        depth(RoundUp(shape.head_width, per_word) / per_word),
        width(PaddedWidth(shape)),
        values(depth * kTileKeys),
        scales(values + kTileKeys / per_word * width),
        head_words(scales + (format == Precision::kInt8 ? 3 * kTileKeys : 0)) {}

  int64_t per_word;  // elements in a word
  int64_t depth;
  int64_t width;
  int64_t values;  // first word of the values
  int64_t scales;  // first word of the scales
  int64_t head_words;
};

}  // namespace grab
