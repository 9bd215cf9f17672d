// Random RAB attention problems as batches make them: segments of partial rows in time order and
// full rows that see a prefix of them, both inside windows. Keys are all partial rows, then all
// full rows; queries the same rows, or the full ones only.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernels/rab_buckets.h"
#include "kernels/rab_simd.h"

namespace grab::testing {

struct RabProblemOptions {
  std::vector<int64_t> partial = {10};  // rows of each segment
  std::vector<int64_t> full = {3};
  int64_t heads = 2;
  int64_t head_width = 8;
  int64_t position_buckets = 32;
  int64_t time_buckets = 32;
  int64_t action_classes = 5;
  int64_t window_len = 1 << 20;
  double window_time_s = 0.0;  // 0: no limit
  double gap_max_s = 100.0;    // between events; a third of them share their predecessor's time
  bool full_only = false;
};

struct RandomRab {
  RabShape shape;
  std::vector<RabSegment> segments;
  std::vector<int32_t> key_begin, key_end, self_key, key_action;
  std::vector<RabRun> run_list;
  std::vector<int64_t> query_time_ms, key_time_ms, time_bound_ms;
  std::vector<uint16_t> position_bucket;
  std::vector<float> q, k, v, position, time, action, codebooks;

  int64_t d() const { return shape.heads * shape.head_width; }
  RabVisibility visibility() const {
    return {key_begin.data(),   key_end.data(),    self_key.data(),        query_time_ms.data(),
            key_time_ms.data(), key_action.data(), position_bucket.data(), time_bound_ms.data()};
  }
  RabRuns runs() const { return {run_list.data()}; }
  RabInputs<float> inputs() const {
    return {q.data(), k.data(), v.data(), d(), d(), position.data(), time.data(), action.data()};
  }
  RabProblem problem() const {
    return {
        shape,    visibility(),    runs(), segments.data(), static_cast<int64_t>(segments.size()),
        inputs(), codebooks.data()};
  }
  int64_t segment_keys_max() const {
    int64_t most = 0;
    for (const RabSegment& s : segments) most = std::max<int64_t>(most, s.key_end - s.key_begin);
    return most;
  }
};

inline std::vector<float> RandomFloats(Rng& rng, int64_t n, double scale) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(scale * rng.Normal());
  return values;
}

// Visible part of history rows [first, first + end) for a query at `now_ms`.
inline void PushRange(const RabProblemOptions& options, int64_t first, int64_t end, int64_t length,
                      int64_t now_ms, RandomRab& p) {
  int64_t begin = std::max<int64_t>(0, end - length);
  while (options.window_time_s > 0 && begin < end &&
         now_ms - p.key_time_ms[static_cast<size_t>(first + begin)] >
             static_cast<int64_t>(1000 * options.window_time_s)) {
    ++begin;
  }
  p.key_begin.push_back(static_cast<int32_t>(first + begin));
  p.key_end.push_back(static_cast<int32_t>(first + end));
  p.query_time_ms.push_back(now_ms);
}

inline RandomRab MakeRab(const RabProblemOptions& options, uint64_t seed) {
  Rng rng(seed);
  RandomRab p;
  int64_t partial_rows = 0, full_rows = 0;
  for (const int64_t n : options.partial) partial_rows += n;
  for (const int64_t n : options.full) full_rows += n;
  const int64_t rows = partial_rows + full_rows;
  p.shape = {options.full_only ? full_rows : rows,
             rows,
             options.heads,
             options.head_width,
             options.position_buckets,
             options.time_buckets,
             options.action_classes};
  const auto gap_ms = [&] {
    return rng.Below(3) == 0 ? 0 : static_cast<int64_t>(1000 * options.gap_max_s * rng.Uniform());
  };
  int64_t first = 0, query = 0;
  for (const int64_t n : options.partial) {
    int64_t now_ms = 1'000'000;
    for (int64_t i = 0; i < n; ++i) {
      now_ms += gap_ms();
      p.key_time_ms.push_back(now_ms);
      p.key_action.push_back(
          static_cast<int32_t>(rng.Below(static_cast<uint64_t>(options.action_classes - 1))));
    }
    RabSegment segment;
    segment.key_begin = static_cast<int32_t>(first);
    segment.key_end = static_cast<int32_t>(first + n);
    for (int64_t i = 0; i < n && !options.full_only; ++i) {
      PushRange(options, first, i, options.window_len - 1,
                p.key_time_ms[static_cast<size_t>(first + i)], p);
      p.self_key.push_back(static_cast<int32_t>(first + i));
    }
    segment.query_begin[0] = static_cast<int32_t>(query);
    if (!options.full_only) query += n;
    segment.query_end[0] = static_cast<int32_t>(query);
    p.segments.push_back(segment);
    first += n;
  }
  int64_t full_row = 0;
  for (size_t s = 0; s < p.segments.size(); ++s) {
    RabSegment& segment = p.segments[s];
    segment.query_begin[1] = static_cast<int32_t>(query);
    for (int64_t i = 0; i < options.full[s]; ++i, ++full_row, ++query) {
      const int64_t n = options.partial[s];
      // Requests spread over the history, the last one after all of it.
      const int64_t end = options.full[s] == 1 ? n : n * i / (options.full[s] - 1);
      const int64_t now_ms =
          end == 0 ? 0 : p.key_time_ms[static_cast<size_t>(segment.key_begin + end - 1)] + 1;
      PushRange(options, segment.key_begin, end, options.window_len, now_ms, p);
      p.self_key.push_back(static_cast<int32_t>(partial_rows + full_row));
    }
    segment.query_end[1] = static_cast<int32_t>(query);
  }
  int64_t longest = 1;
  for (const int64_t n : options.partial) longest = std::max(longest, n);
  p.position_bucket =
      PositionBuckets(options.position_buckets, std::min(longest, options.window_len));
  p.time_bound_ms = TimeBoundsMs(options.time_buckets, 1e5);
  std::vector<int32_t> position_last(static_cast<size_t>(options.position_buckets));
  FillPositionLast(p.position_bucket.data(), static_cast<int64_t>(p.position_bucket.size()) - 1,
                   options.position_buckets, position_last.data());
  p.run_list.resize(static_cast<size_t>(p.shape.queries * RabRunStride(p.shape)));
  FillRabRuns(p.shape, p.visibility(), position_last.data(), p.run_list.data());
  p.q = RandomFloats(rng, p.shape.queries * p.d(), 1.0);
  p.k = RandomFloats(rng, rows * p.d(), 1.0);
  p.v = RandomFloats(rng, rows * p.d(), 1.0);
  p.position = RandomFloats(rng, p.d() * options.position_buckets, 0.7);
  p.time = RandomFloats(rng, p.d() * options.time_buckets, 0.7);
  p.action = RandomFloats(rng, p.d() * options.action_classes, 0.7);
  p.codebooks.resize(static_cast<size_t>(RabCodebookFloats(p.shape)));
  PackRabCodebooks(p.shape, p.position.data(), p.time.data(), p.action.data(), p.codebooks.data());
  return p;
}

// Memory for scratch, filled with NaN: what a kernel reads before it wrote it shows.
class PoisonedScratch {
 public:
  explicit PoisonedScratch(size_t bytes) : floats_(bytes / sizeof(float) + 32, std::nanf("")) {}
  void* data() {
    const auto address = reinterpret_cast<uintptr_t>(floats_.data());
    return reinterpret_cast<void*>((address + 63) / 64 * 64);
  }

 private:
  std::vector<float> floats_;
};

}  // namespace grab::testing
