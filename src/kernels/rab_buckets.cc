#include "kernels/rab_buckets.h"

#include <cmath>

#include "base/check.h"

namespace grab {

std::vector<uint16_t> PositionBuckets(int64_t buckets, int64_t distance_max) {
  GRAB_CHECK(buckets >= 2 && buckets <= 65536 && distance_max >= 1);
  const int64_t exact = std::max<int64_t>(1, (buckets - 1) / 2);
  const int64_t logarithmic = buckets - 1 - exact;
  std::vector<uint16_t> table(static_cast<size_t>(distance_max) + 1, 0);
  for (int64_t distance = 1; distance <= distance_max; ++distance) {
    int64_t bucket = distance;
    if (distance > exact) {
      const double share =
          std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
          std::log(static_cast<double>(distance_max + 1) / static_cast<double>(exact));
      bucket = exact + (logarithmic == 0
                            ? 0
                            : 1 + static_cast<int64_t>(share * static_cast<double>(logarithmic)));
    }
    table[static_cast<size_t>(distance)] = static_cast<uint16_t>(std::min(bucket, buckets - 1));
  }
  return table;
}

std::vector<int64_t> TimeBoundsMs(int64_t buckets, double time_max_s) {
  GRAB_CHECK(buckets >= 2 && time_max_s > 1.0);
  std::vector<int64_t> bounds_ms;
  const int64_t count = buckets - 2;
  for (int64_t i = 0; i < count; ++i) {
    const double share = count == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(count - 1);
    bounds_ms.push_back(std::llround(1000.0 * std::pow(time_max_s, share)));
  }
  return bounds_ms;
}

}  // namespace grab
