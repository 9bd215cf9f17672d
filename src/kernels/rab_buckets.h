// Buckets of the relative attention bias (DESIGN 3.3). Bucket 0 is a token attending itself; all
// arithmetic is on integers once the tables are made, so training and serving agree to the bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace grab {

// Bucket of a distance in tokens, as a table over [0, distance_max]: [0] = 0; buckets 1 .. (n-1)/2
// are exact, the rest are logarithmic up to distance_max, which is in the last one. n >= 2.
std::vector<uint16_t> PositionBuckets(int64_t buckets, int64_t distance_max);

// Upper bounds in ms, ascending, of time buckets 1 .. n-2; bucket n-1 is everything beyond. The
// first bound is 1 s, the last `time_max_s`, in equal ratios. n >= 2; n == 2 has no bounds.
std::vector<int64_t> TimeBoundsMs(int64_t buckets, double time_max_s);

// Bucket of an age >= 0 in ms, in [1, bounds + 1].
inline int32_t TimeBucket(const int64_t* bounds_ms, int64_t bounds, int64_t age_ms) {
  return 1 +
         static_cast<int32_t>(std::lower_bound(bounds_ms, bounds_ms + bounds, age_ms) - bounds_ms);
}

}  // namespace grab
