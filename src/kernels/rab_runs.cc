#include <algorithm>

#include "base/check.h"
#include "kernels/rab_simd.h"

namespace grab {

void FillTimeRuns(const RabShape& shape, const RabVisibility& visibility, int32_t* time_first) {
  const int64_t buckets = shape.time_buckets;
  const int64_t* key_time = visibility.key_time_ms;
  const int32_t* before =
      nullptr;  // the runs of the query before, a good guess where ranges overlap
  for (int64_t i = 0; i < shape.queries; ++i) {
    int32_t* first = time_first + i * buckets;
    const int32_t begin = visibility.key_begin[i];
    const int32_t end = visibility.key_end[i];
    first[0] = end;
    first[buckets - 1] = begin;
    for (int64_t b = 1; b < buckets - 1; ++b) {
      // Keys of bucket b or below are no older than its bound.
      const int64_t oldest_ms = visibility.query_time_ms[i] - visibility.time_bound_ms[b - 1];
      int32_t from = begin;
      int32_t to = first[b - 1];
      const int32_t guess = before == nullptr ? begin : before[b];
      if (guess > from && guess <= to && key_time[guess - 1] < oldest_ms) {
        from = guess;
        // A history moves on by a few keys from query to query.
        for (int step = 0; step < 4 && from < to && key_time[from] < oldest_ms; ++step) ++from;
        if (from < to && key_time[from] >= oldest_ms) to = from;
      }
      first[b] = static_cast<int32_t>(std::lower_bound(key_time + from, key_time + to, oldest_ms) -
                                      key_time);
    }
    before = first;
  }
}

void FillPositionRuns(const uint16_t* position_bucket, int64_t distance_max, int64_t buckets,
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
