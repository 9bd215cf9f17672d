// A kernel's caller-owned scratch, carved into buffers: once without memory to learn the size, once
// with it.
#pragma once

#include <cstdint>

namespace grab {

class Scratch {
 public:
  // `memory` null: only counts.
  explicit Scratch(float* memory) : memory_(memory) {}

  // The next `floats`, aligned to 64 bytes if the memory is.
  float* Take(int64_t floats) {
    float* taken = memory_ == nullptr ? nullptr : memory_ + size_;
    size_ += (floats + 15) / 16 * 16;
    return taken;
  }
  int64_t size() const { return size_; }

 private:
  float* memory_;
  int64_t size_ = 0;
};

}  // namespace grab
