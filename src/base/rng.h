// Counter-based random numbers: the value depends only on (seed, stream, index), never on call
// order or thread. A generator is three words; saving `index` is enough to resume exactly.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace grab {

// SplitMix64's finaliser (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// 2014).
constexpr uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : key_(Mix64(seed ^ Mix64(stream))) {}

  uint64_t Next() { return Mix64(key_ ^ Mix64(index_++)); }
  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  // Uniform in [0, n), n > 0; bias below n / 2^64.
  uint64_t Below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * n) >> 64);
  }
  double Normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * Uniform());
  }
  bool Bernoulli(double p) { return Uniform() < p; }

  uint64_t index() const { return index_; }
  void set_index(uint64_t index) { index_ = index; }

 private:
  uint64_t key_;
  uint64_t index_ = 0;
};

// Fisher-Yates, in place.
template <class Container>
void Shuffle(Container& items, Rng& rng) {
  for (uint64_t i = items.size(); i > 1; --i) {
    const uint64_t j = rng.Below(i);
    std::swap(items[i - 1], items[j]);
  }
}

}  // namespace grab
