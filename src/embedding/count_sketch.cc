#include "embedding/count_sketch.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"

namespace grab {
namespace {

constexpr uint64_t kCountersPerKey = 4;
constexpr uint64_t kAdditionsPerCounter = 8;

}  // namespace

uint32_t CountSketch::Add(uint64_t hash, uint32_t occurrences) {
  GRAB_CHECK(!counters_.empty());
  uint64_t places[kCountersPerKey];
  uint32_t count = kCountMax;
  for (uint64_t i = 0; i < kCountersPerKey; ++i) {
    const unsigned __int128 scaled =
        static_cast<unsigned __int128>(Mix64(hash ^ i)) * counters_.size();
    places[i] = static_cast<uint64_t>(scaled >> 64);
    count = std::min<uint32_t>(count, counters_[places[i]]);
  }
  count = std::min(kCountMax, count + std::min(kCountMax, occurrences));
  for (const uint64_t place : places) {
    counters_[place] = std::max(counters_[place], static_cast<uint8_t>(count));
  }
  if (++additions_ >= kAdditionsPerCounter * counters_.size()) Halve();
  return count;
}

void CountSketch::Halve() {
  for (uint8_t& counter : counters_) counter /= 2;
  additions_ = 0;
}

void CountSketch::Restore(std::vector<uint8_t> counters, uint64_t additions) {
  GRAB_CHECK(counters.size() == counters_.size());
  counters_ = std::move(counters);
  additions_ = additions;
}

}  // namespace grab
