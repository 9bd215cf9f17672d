#include <algorithm>

#include "base/check.h"
#include "kernels/rab_layout.h"
#include "kernels/rab_simd.h"

namespace grab {

namespace {

// first[b]: the first key of query i's range whose time bucket is at most b; b = 0: its key_end.
// `guess` is that of the query before: ranges overlap, and a history moves on by a few keys from
// query to query.
void FillTimeFirst(const RabShape& shape, const RabVisibility& visibility, int64_t i,
                   const int32_t* guess, int32_t* first) {
  const int64_t* key_time = visibility.key_time_ms;
  const int32_t begin = visibility.key_begin[i];
  first[0] = visibility.key_end[i];
  first[shape.time_buckets - 1] = begin;
  for (int64_t b = 1; b < shape.time_buckets - 1; ++b) {
    // Keys of bucket b or below are no older than its bound.
    const int64_t oldest_ms = visibility.query_time_ms[i] - visibility.time_bound_ms[b - 1];
    int32_t from = begin;
    int32_t to = first[b - 1];
    if (guess[b] > from && guess[b] <= to && key_time[guess[b] - 1] < oldest_ms) {
      from = guess[b];
      for (int step = 0; step < 4 && from < to && key_time[from] < oldest_ms; ++step) ++from;
      if (from < to && key_time[from] >= oldest_ms) to = from;
    }
    first[b] = static_cast<int32_t>(std::lower_bound(key_time + from, key_time + to, oldest_ms) -
                                    key_time);
  }
}

// Merges the boundaries of time buckets (time_first) with those of positions.
void MergeRuns(const RabShape& shape, const int32_t* position_last, int32_t exact, int32_t begin,
               int32_t end, const int32_t* time_first, RabRun* run) {
  int64_t position = shape.position_buckets - 1;
  int64_t time = shape.time_buckets - 1;
  for (int32_t j = begin; j < end; ++run) {
    while (end - j <= position_last[position - 1]) --position;
    while (time_first[time - 1] <= j) --time;
    const bool is_exact = end - j <= exact;
    const int32_t position_end = is_exact ? end : end - position_last[position - 1];
    run->key_end = std::min(position_end, time_first[time - 1]);
    run->position_column =
        is_exact ? kExactPositions : static_cast<uint16_t>(PositionColumn(shape, position));
    run->time_column = static_cast<uint16_t>(TimeColumn(shape, time));
    j = run->key_end;
  }
}

int32_t ExactPositions(const int32_t* position_last, int64_t buckets) {
  int32_t exact = 0;
  while (exact + 1 < buckets - 1 && position_last[exact + 1] == exact + 1) ++exact;
  return exact;
}

}  // namespace

int64_t RabRunStride(const RabShape& shape) { return shape.position_buckets + shape.time_buckets; }

void FillRabRuns(const RabShape& shape, const RabVisibility& visibility,
                 const int32_t* position_last, RabRun* runs) {
  GRAB_CHECK(shape.time_buckets >= 2 && shape.time_buckets <= kBucketsMax &&
             shape.position_buckets >= 2 && shape.position_buckets <= kBucketsMax);
  const int32_t exact = ExactPositions(position_last, shape.position_buckets);
  int32_t time_first[2][kBucketsMax];
  std::fill_n(time_first[1], shape.time_buckets, 0);
  for (int64_t i = 0; i < shape.queries; ++i) {
    int32_t* first = time_first[i % 2];
    FillTimeFirst(shape, visibility, i, time_first[(i + 1) % 2], first);
    MergeRuns(shape, position_last, exact, visibility.key_begin[i], visibility.key_end[i], first,
              runs + i * RabRunStride(shape));
  }
}

void FillPositionLast(const uint16_t* position_bucket, int64_t distance_max, int64_t buckets,
                      int32_t* position_last) {
  GRAB_CHECK(position_bucket[0] == 0 && buckets >= 2);
  std::fill_n(position_last, buckets, 0);
  for (int64_t distance = 1; distance <= distance_max; ++distance) {
    GRAB_CHECK(position_bucket[distance] >= position_bucket[distance - 1] &&
               position_bucket[distance] >= 1 && position_bucket[distance] < buckets);
    position_last[position_bucket[distance]] = static_cast<int32_t>(distance);
  }
  for (int64_t b = 1; b < buckets; ++b) {
    position_last[b] = std::max(position_last[b], position_last[b - 1]);
  }
  position_last[buckets - 1] = INT32_MAX;
}

int64_t RabVisiblePairs(const RabVisibility& visibility, const RabSegment& segment) {
  int64_t pairs = 0;
  for (int part = 0; part < 2; ++part) {
    for (int32_t i = segment.query_begin[part]; i < segment.query_end[part]; ++i) {
      pairs += visibility.key_end[i] - visibility.key_begin[i] + 1;
    }
  }
  return pairs;
}

void SplitRabItems(const RabProblem& problem, int parts, int64_t* bounds) {
  const int64_t heads = problem.shape.heads;
  int64_t total = 0;
  for (int64_t s = 0; s < problem.segment_count; ++s) {
    total += RabVisiblePairs(problem.visibility, problem.segments[s]);
  }
  int64_t before = 0;  // pairs of the segments before this one
  int part = 0;
  bounds[0] = 0;
  for (int64_t s = 0; s < problem.segment_count; ++s) {
    const int64_t pairs = RabVisiblePairs(problem.visibility, problem.segments[s]);
    for (int64_t h = 0; h < heads; ++h) {
      // A part ends where at least its share of all pairs lies behind.
      while (part + 1 < parts &&
             (before * heads + pairs * h) * parts >= total * heads * (part + 1)) {
        bounds[++part] = s * heads + h;
      }
    }
    before += pairs;
  }
  while (part < parts) bounds[++part] = problem.segment_count * heads;
}

}  // namespace grab
