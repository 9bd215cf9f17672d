// The bias of one query over one tile of keys, run by run, and its transpose for the backward pass:
// sums of gradients over the same runs. Keys are counted from the first key of the tiles.
#if defined(GRAB_KERNELS_RAB_BIAS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAB_KERNELS_RAB_BIAS_INL_H_
#undef GRAB_KERNELS_RAB_BIAS_INL_H_
#else
#define GRAB_KERNELS_RAB_BIAS_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "kernels/rab_layout.h"
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// One query's keys and where it stands in their runs. Tiles come in ascending order, so the buckets
// only fall.
struct QueryRuns {
  int32_t begin;  // keys [begin, end)
  int32_t end;
  const int32_t* time_first;  // not shifted: counted from key `base`
  int32_t base;
  int32_t position_bucket;
  int32_t time_bucket;
};

struct RunTables {
  explicit RunTables(const RabShape& shape, const int32_t* position_last_in)
      : position_last(position_last_in),
        position_buckets(static_cast<int32_t>(shape.position_buckets)),
        time_buckets(static_cast<int32_t>(shape.time_buckets)) {
    while (exact + 1 < position_buckets - 1 && position_last[exact + 1] == exact + 1) ++exact;
  }
  const int32_t* position_last;
  int32_t position_buckets;
  int32_t time_buckets;
  int32_t exact = 0;  // distances 1 .. exact have a bucket each
};

HWY_INLINE QueryRuns StartRuns(const RunTables& tables, int32_t begin, int32_t end,
                               const int32_t* time_first, int32_t base) {
  QueryRuns runs = {
      begin - base,           end - base, time_first, base, tables.position_buckets - 1,
      tables.time_buckets - 1};
  return runs;
}

// Calls visitor.Constant(column, j0, j1) for runs of one bucket and visitor.Exact(column, j0, j1)
// for keys j0 .. j1 - 1 of consecutive columns, ascending, over keys [lo, hi) of the query.
template <class Visitor>
HWY_INLINE void VisitPositions(const RunTables& tables, int32_t lo, int32_t hi, QueryRuns& query,
                               const Visitor& visitor) {
  const int32_t* last = tables.position_last;
  const int32_t exact_begin = std::max(lo, query.end - tables.exact);
  const int32_t constant_end = std::min(hi, exact_begin);
  int32_t bucket = query.position_bucket;
  for (int32_t j = lo; j < constant_end;) {
    while (query.end - j <= last[bucket - 1]) --bucket;
    const int32_t next = std::min(constant_end, query.end - last[bucket - 1]);
    visitor.Constant(tables.position_buckets - 1 - bucket, j, next);
    j = next;
  }
  query.position_bucket = bucket;
  if (exact_begin < hi) {
    visitor.Exact(tables.position_buckets - 1 - (query.end - exact_begin), exact_begin, hi);
  }
}

template <class Visitor>
HWY_INLINE void VisitTimes(const RunTables& tables, int32_t lo, int32_t hi, QueryRuns& query,
                           const Visitor& visitor) {
  int32_t bucket = query.time_bucket;
  for (int32_t j = lo; j < hi;) {
    while (query.time_first[bucket - 1] - query.base <= j) --bucket;
    const int32_t next = std::min(hi, query.time_first[bucket - 1] - query.base);
    visitor.Constant(tables.position_buckets - 1 + bucket - 1, j, next);
    j = next;
  }
  query.time_bucket = bucket;
}

// Writes a table's values: bias[j - tile_begin], and up to a vector beyond the last.
struct FillVisitor {
  const float* table;
  float* bias;
  int32_t tile_begin;

  HWY_INLINE void Constant(int32_t column, int32_t j0, int32_t j1) const {
    Fill(table[column], bias + (j0 - tile_begin), bias + (j1 - tile_begin));
  }
  HWY_INLINE void Exact(int32_t column, int32_t j0, int32_t j1) const {
    const DF d;
    const float* from = table + column;
    float* to = bias + (j0 - tile_begin);
    for (const float* end = bias + (j1 - tile_begin); to < end; to += hn::Lanes(d)) {
      hn::StoreU(hn::LoadU(d, from), d, to);
      from += hn::Lanes(d);
    }
  }
};

// Adds gradients to a table of gradients.
struct SumVisitor {
  const float* gradient;
  float* d_table;
  int32_t tile_begin;

  HWY_INLINE void Constant(int32_t column, int32_t j0, int32_t j1) const {
    const DF d;
    const auto lanes = static_cast<int32_t>(hn::Lanes(d));
    VF sum = hn::Zero(d);
    int32_t j = j0;
    for (; j + lanes <= j1; j += lanes)
      sum = hn::Add(sum, hn::LoadU(d, gradient + (j - tile_begin)));
    if (j < j1) {
      const auto rest = hn::FirstN(d, static_cast<size_t>(j1 - j));
      sum = hn::Add(sum, hn::IfThenElseZero(rest, hn::LoadU(d, gradient + (j - tile_begin))));
    }
    d_table[column] += Sum(sum);
  }
  HWY_INLINE void Exact(int32_t column, int32_t j0, int32_t j1) const {
    const DF d;
    const auto lanes = static_cast<int32_t>(hn::Lanes(d));
    for (int32_t j = j0; j < j1; j += lanes) {
      float* to = d_table + column + (j - j0);
      VF value = hn::LoadU(d, gradient + (j - tile_begin));
      if (j + lanes > j1) {
        value = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(j1 - j)), value);
      }
      hn::StoreU(hn::Add(hn::LoadU(d, to), value), d, to);
    }
  }
};

// A row of bias over a tile, with room for a vector beyond.
constexpr int64_t kBiasStride = kTileKeys + kLanesMax;

// Fills position and time biases for keys [from, to) of the tile that starts at `tile_begin` (from,
// to counted from there). Keys the query does not see get position bias -infinity.
HWY_INLINE void FillBias(const RunTables& tables, const float* table, int32_t tile_begin,
                         int32_t from, int32_t to, QueryRuns& query, float* position, float* time) {
  const int32_t lo = std::max(query.begin, tile_begin + from);
  const int32_t hi = std::min(query.end, tile_begin + to);
  constexpr float kUnseen = -std::numeric_limits<float>::infinity();
  if (lo >= hi) {
    Fill(kUnseen, position + from, position + to);
    return;
  }
  Fill(kUnseen, position + from, position + (lo - tile_begin));
  VisitPositions(tables, lo, hi, query, FillVisitor{table, position, tile_begin});
  Fill(kUnseen, position + (hi - tile_begin), position + to);
  VisitTimes(tables, lo, hi, query, FillVisitor{table, time, tile_begin});
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_RAB_BIAS_INL_H_
