// How often keys without a row were seen, in bounded memory: a count-min sketch (Cormode,
// Muthukrishnan 2005) of byte counters with conservative update (Estan, Varghese 2002). A count may
// come out too high, when keys collide, never too low, up to 255 and until the counters are halved.
#pragma once

#include <cstdint>
#include <vector>

namespace grab {

class CountSketch {
 public:
  static constexpr uint32_t kCountMax = 255;

  // `counters` of one byte each; 0: none, and no key may be added.
  explicit CountSketch(uint64_t counters) : counters_(counters) {}

  // Adds `occurrences` of the key of this hash (well mixed) and returns its count.
  uint32_t Add(uint64_t hash, uint32_t occurrences);

  // What a checkpoint keeps. Additions since the counters were last halved: they are when there
  // were 8 for every counter, so that what is long past does not fill them.
  const std::vector<uint8_t>& counters() const { return counters_; }
  uint64_t additions() const { return additions_; }
  // `counters` as many as there are.
  void Restore(std::vector<uint8_t> counters, uint64_t additions);

 private:
  void Halve();

  std::vector<uint8_t> counters_;
  uint64_t additions_ = 0;
};

}  // namespace grab
