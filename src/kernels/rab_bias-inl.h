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

// One query's keys [begin, end), and where it stands in their runs: tiles come in ascending order.
struct QueryRuns {
  int32_t begin;
  int32_t end;
  int32_t base;  // of the runs' key numbers
  const RabRun* run;
};

HWY_INLINE QueryRuns StartRuns(const RabShape& shape, const RabRuns& runs, int64_t query,
                               const int32_t* key_begin, const int32_t* key_end, int32_t base) {
  return {key_begin[query] - base, key_end[query] - base, base,
          runs.runs + query * RabRunStride(shape)};
}

// Calls visitor for the runs of keys [lo, hi): Constant(position, time, j0, j1) where both columns
// are those of all keys, Exact(position, time, j0, j1) where `position` is the column of key j0 and
// the next key's is the next column.
template <class Visitor>
HWY_INLINE void VisitRuns(const RabShape& shape, int32_t lo, int32_t hi, QueryRuns& query,
                          const Visitor& visitor) {
  const RabRun* run = query.run;
  while (run->key_end - query.base <= lo) ++run;
  for (int32_t j = lo;; ++run) {
    const int32_t next = std::min(hi, run->key_end - query.base);
    if (run->position_column == kExactPositions) {
      visitor.Exact(PositionColumn(shape, query.end - j), run->time_column, j, next);
    } else {
      visitor.Constant(run->position_column, run->time_column, j, next);
    }
    j = next;
    if (j >= hi) break;
  }
  query.run = run;
}

// A row of bias over a tile, with room for a tile beyond.
constexpr int64_t kBiasStride = 2 * kTileKeys;

// Fills a whole tile's length from `to` on: what follows a run overwrites it, and the number of
// stores does not depend on the run's length, which nobody could predict.
HWY_INLINE void FillOn(float value, float* to) {
  const DF d;
  const VF v = hn::Set(d, value);
  for (size_t j = 0; j < kTileKeys; j += hn::Lanes(d)) hn::StoreU(v, d, to + j);
}

// Writes the sum of both biases: bias[j - tile_begin], and something beyond the last.
struct FillVisitor {
  const float* table;
  float* bias;
  int32_t tile_begin;

  HWY_INLINE void Constant(int64_t position, int64_t time, int32_t j0, int32_t) const {
    FillOn(table[position] + table[time], bias + (j0 - tile_begin));
  }
  HWY_INLINE void Exact(int64_t position, int64_t time, int32_t j0, int32_t j1) const {
    const DF d;
    const VF add = hn::Set(d, table[time]);
    const float* from = table + position;
    float* to = bias + (j0 - tile_begin);
    for (const float* end = bias + (j1 - tile_begin); to < end; to += hn::Lanes(d)) {
      hn::StoreU(hn::Add(hn::LoadU(d, from), add), d, to);
      from += hn::Lanes(d);
    }
  }
};

// Adds gradients to a table of gradients.
struct SumVisitor {
  const float* gradient;
  float* d_table;
  int32_t tile_begin;

  HWY_INLINE VF LoadRun(int32_t j, int32_t j1) const {
    const DF d;
    const VF value = hn::LoadU(d, gradient + (j - tile_begin));
    if (j + static_cast<int32_t>(hn::Lanes(d)) <= j1) return value;
    return hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(j1 - j)), value);
  }
  HWY_INLINE void Constant(int64_t position, int64_t time, int32_t j0, int32_t j1) const {
    const DF d;
    VF total = hn::Zero(d);
    for (int32_t j = j0; j < j1; j += static_cast<int32_t>(hn::Lanes(d))) {
      total = hn::Add(total, LoadRun(j, j1));
    }
    const float sum = Sum(total);
    d_table[position] += sum;
    d_table[time] += sum;
  }
  HWY_INLINE void Exact(int64_t position, int64_t time, int32_t j0, int32_t j1) const {
    const DF d;
    VF total = hn::Zero(d);
    for (int32_t j = j0; j < j1; j += static_cast<int32_t>(hn::Lanes(d))) {
      float* to = d_table + position + (j - j0);
      const VF value = LoadRun(j, j1);
      total = hn::Add(total, value);
      hn::StoreU(hn::Add(hn::LoadU(d, to), value), d, to);
    }
    d_table[time] += Sum(total);
  }
};

// Fills the bias for keys [from, to) of the tile that starts at `tile_begin` (from, to counted from
// there). Keys the query does not see get -infinity.
HWY_INLINE void FillBias(const RabShape& shape, const float* table, int32_t tile_begin,
                         int32_t from, int32_t to, QueryRuns& query, float* bias) {
  const int32_t lo = std::max(query.begin, tile_begin + from);
  const int32_t hi = std::min(query.end, tile_begin + to);
  constexpr float kUnseen = -std::numeric_limits<float>::infinity();
  if (lo >= hi || lo > tile_begin + from) FillOn(kUnseen, bias + from);
  if (lo >= hi) return;
  VisitRuns(shape, lo, hi, query, FillVisitor{table, bias, tile_begin});
  if (hi < tile_begin + to) FillOn(kUnseen, bias + (hi - tile_begin));
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#endif  // GRAB_KERNELS_RAB_BIAS_INL_H_
