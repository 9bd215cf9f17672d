// The forward pass of one head over the tiles of one sequence, for all formats of tiles.
#if defined(GRAB_KERNELS_RAB_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_RAB_FORWARD_INL_H_
#undef GRAB_KERNELS_RAB_FORWARD_INL_H_
#else
#define GRAB_KERNELS_RAB_FORWARD_INL_H_
#endif

#include "kernels/rab_formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

constexpr float kLog2E = 1.44269504088896341f;

// Keys are computed in units of a vector, and of a word of the 8-bit format.
HWY_INLINE int32_t KeyUnit() { return std::max<int32_t>(4, static_cast<int32_t>(hn::Lanes(DF()))); }

// One head of one sequence. Query rows are absolute; key numbers too, less `base`.
struct HeadForward {
  const RabShape& shape;
  const TileLayout& layout;
  const RabRuns& runs;
  const int32_t* key_begin;
  const int32_t* key_end;
  const int32_t* self_key;  // null: a query's own key is the row of its number
  int32_t base;
  const float* q;  // the pointers below are those of the head
  size_t q_stride;
  const float* self_k;
  const float* self_v;
  size_t self_stride;
  const float* codebook;  // packed panels
  float* out;
  size_t out_stride;
  float* log_sum;  // may be null; stride shape.heads

  // Key tile t: from the list, or from one block of consecutive tiles.
  const void* const* tiles;
  size_t tile_offset;  // words
  const uint32_t* packed;

  const uint32_t* Tile(int32_t t) const {
    if (tiles != nullptr) return static_cast<const uint32_t*>(tiles[t]) + tile_offset;
    return packed + static_cast<int64_t>(t) * layout.head_words;
  }
  size_t SelfRow(int64_t query) const {
    return static_cast<size_t>(self_key == nullptr ? query : self_key[query]);
  }
};

// table[r] = q_r . every column of the codebooks
HWY_INLINE void FillTables(const RabShape& shape, const float* codebook, const float* q,
                           size_t q_stride, size_t rows, float* table) {
  const auto width = static_cast<size_t>(shape.head_width);
  const auto stride = static_cast<size_t>(TableStride(shape));
  const int64_t columns = RoundUp(TableColumns(shape), static_cast<int64_t>(hn::Lanes(DF())));
  for (int64_t begin = 0; begin < columns; begin += kTileKeys) {
    const Product<DotF32> product = {q,         q_stride, 1, codebook + begin * shape.head_width,
                                     kTileKeys, width};
    Multiply(product, rows, 0, static_cast<size_t>(std::min(kTileKeys, columns - begin)),
             StoreProduct{table + begin, stride});
  }
}

// A block starts with every query attending itself alone.
template <class Keys>
HWY_INLINE void StartBlock(const HeadForward& head, int64_t row, size_t rows, ForwardScratch& s) {
  const RabShape& shape = head.shape;
  const auto width = static_cast<size_t>(shape.head_width);
  const float* q = head.q + static_cast<size_t>(row) * head.q_stride;
  const float scale = kLog2E / std::sqrt(static_cast<float>(shape.head_width));
  FillTables(shape, head.codebook, q, head.q_stride, rows, s.table);
  Keys::PackQueries(head.layout, shape, q, head.q_stride, rows, s);
  for (size_t r = 0; r < rows; ++r) {
    const int64_t query = row + static_cast<int64_t>(r);
    s.runs[r] = StartRuns(head.shape, head.runs, query, head.key_begin, head.key_end, head.base);
    const size_t self = head.SelfRow(query) * head.self_stride;
    const float bias = s.table[static_cast<int64_t>(r) * TableStride(shape) + SelfColumn(shape)];
    s.largest[r] = scale * (DotRows(q + r * head.q_stride, head.self_k + self, width) + bias);
    std::fill_n(s.sum + r * kLanesMax, kLanesMax, 0.0f);
    s.sum[r * kLanesMax] = 1.0f;
    float* out = s.out + static_cast<int64_t>(r) * head.layout.width;
    std::copy_n(head.self_v + self, width, out);
    std::fill(out + width, out + head.layout.width, 0.0f);
  }
}

// Scores of a group to probabilities relative to `largest`. A row's reference moves only when a
// score exceeds it by more than a factor of 2^kSlack: results differ by rounding only, and nearly
// all tiles need no maximum across lanes. Largest sums are 2^kSlack times the number of keys.
HWY_INLINE void SoftmaxGroup(const RabShape& shape, size_t first, size_t rows, size_t from,
                             size_t to, ForwardScratch& s) {
  constexpr float kSlack = 8.0f;
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF scale = hn::Set(d, kLog2E / std::sqrt(static_cast<float>(shape.head_width)));
  for (size_t r = first; r < first + rows; ++r) {
    float* score = s.score + r * kScoreStride;
    VF largest = hn::LoadU(d, score + from);
    for (size_t j = from + lanes; j < to; j += lanes) {
      largest = hn::Max(largest, hn::LoadU(d, score + j));
    }
    largest = hn::Mul(largest, scale);
    VF reference = hn::Set(d, s.largest[r]);
    s.shrink[r] = 1.0f;
    if (HWY_UNLIKELY(!hn::AllFalse(d, hn::Gt(largest, hn::Add(reference, hn::Set(d, kSlack)))))) {
      const VF moved = hn::Set(d, Largest(largest));
      s.shrink[r] = hn::GetLane(Exp2(hn::Sub(reference, moved)));
      reference = moved;
      s.largest[r] = hn::GetLane(moved);
    }
    VF sum = hn::Mul(hn::LoadU(d, s.sum + r * kLanesMax), hn::Set(d, s.shrink[r]));
    for (size_t j = from; j < to; j += lanes) {
      const VF p = Exp2(hn::MulSub(hn::LoadU(d, score + j), scale, reference));
      hn::StoreU(p, d, score + j);
      sum = hn::Add(sum, p);
    }
    hn::StoreU(sum, d, s.sum + r * kLanesMax);
  }
}

// Keys that some of the rows see, as one range; empty: [0, 0).
HWY_INLINE void VisibleKeys(const QueryRuns* runs, size_t rows, int32_t* begin, int32_t* end) {
  *begin = std::numeric_limits<int32_t>::max();
  *end = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (runs[r].begin >= runs[r].end) continue;
    *begin = std::min(*begin, runs[r].begin);
    *end = std::max(*end, runs[r].end);
  }
  if (*end == 0) *begin = 0;
}

// Keys of tile `tile_begin` that rows [first, first + rows) of the block see, rounded out to units;
// from == to: none.
HWY_INLINE void GroupRange(const QueryRuns* runs, size_t first, size_t rows, int32_t tile_begin,
                           int32_t* from, int32_t* to) {
  int32_t lo = kTileKeys;
  int32_t hi = 0;
  for (size_t r = first; r < first + rows; ++r) {
    const int32_t begin = std::max(runs[r].begin - tile_begin, 0);
    const int32_t end = std::min<int32_t>(runs[r].end - tile_begin, kTileKeys);
    if (begin >= end) continue;
    lo = std::min(lo, begin);
    hi = std::max(hi, end);
  }
  const int32_t unit = KeyUnit();
  *from = lo >= hi ? 0 : lo / unit * unit;
  *to = lo >= hi ? 0 : (hi + unit - 1) / unit * unit;
}

// The three phases walk over all groups before the next begins, so that a tile's keys, then its
// values, stay in the first-level cache.
template <class Keys>
HWY_INLINE void AttendTile(const HeadForward& head, int32_t t, size_t rows, ForwardScratch& s) {
  const auto tile_begin = static_cast<int32_t>(t * kTileKeys);
  int32_t from[kBlockRows / kTileRows];
  int32_t to[kBlockRows / kTileRows];
  const auto for_groups = [&](const auto& body) HWY_ATTR {
    for (size_t first = 0, g = 0; first < rows; first += kTileRows, ++g) {
      if (from[g] < to[g]) {
        body(first, std::min<size_t>(kTileRows, rows - first), static_cast<size_t>(from[g]),
             static_cast<size_t>(to[g]));
      }
    }
  };
  for (size_t first = 0, g = 0; first < rows; first += kTileRows, ++g) {
    GroupRange(s.runs, first, std::min<size_t>(kTileRows, rows - first), tile_begin, &from[g],
               &to[g]);
  }
  for_groups([&](size_t first, size_t group, size_t lo, size_t hi) HWY_ATTR {
    for (size_t r = 0; r < group; ++r) {
      FillBias(head.shape, s.table + static_cast<int64_t>(first + r) * TableStride(head.shape),
               tile_begin, static_cast<int32_t>(lo), static_cast<int32_t>(hi), s.runs[first + r],
               s.bias + r * kBiasStride);
    }
    Keys::Score(head.layout, head.Tile(t), first, group, lo, hi, s);
  });
  for_groups([&](size_t first, size_t group, size_t lo, size_t hi)
                 HWY_ATTR { SoftmaxGroup(head.shape, first, group, lo, hi, s); });
  for_groups([&](size_t first, size_t group, size_t lo, size_t hi)
                 HWY_ATTR { Keys::Values(head.layout, head.Tile(t), first, group, lo, hi, s); });
}

HWY_INLINE void FinishBlock(const HeadForward& head, int64_t row, size_t rows, ForwardScratch& s) {
  constexpr float kLn2 = 0.693147180559945309f;
  const auto width = static_cast<size_t>(head.shape.head_width);
  for (size_t r = 0; r < rows; ++r) {
    const auto query = static_cast<size_t>(row) + r;
    const float sum = Sum(hn::LoadU(DF(), s.sum + r * kLanesMax));
    const float inverse = 1.0f / sum;
    const float* from = s.out + static_cast<int64_t>(r) * head.layout.width;
    float* to = head.out + query * head.out_stride;
    for (size_t i = 0; i < width; ++i) to[i] = inverse * from[i];
    if (head.log_sum != nullptr) {
      head.log_sum[query * static_cast<size_t>(head.shape.heads)] =
          kLn2 * s.largest[r] + std::log(sum);
    }
  }
}

// Queries [row_begin, row_end), block by block.
template <class Keys>
HWY_INLINE void ForwardRows(const HeadForward& head, int64_t row_begin, int64_t row_end,
                            ForwardScratch& s) {
  for (int64_t row = row_begin; row < row_end; row += kBlockRows) {
    const auto rows = static_cast<size_t>(std::min(kBlockRows, row_end - row));
    StartBlock<Keys>(head, row, rows, s);
    int32_t begin, end;
    VisibleKeys(s.runs, rows, &begin, &end);
    for (auto t = static_cast<int32_t>(begin / kTileKeys); t * kTileKeys < end; ++t) {
      AttendTile<Keys>(head, t, rows, s);
    }
    FinishBlock(head, row, rows, s);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_RAB_FORWARD_INL_H_
