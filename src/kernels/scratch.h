// A kernel's caller-owned scratch, carved into buffers: once without memory to learn the size, once
// with it.
#pragma once

#include <cstdint>

namespace grab {

class Scratch {
 public:
  // `memory` null: only counts.
  explicit Scratch(float* memory) : memory_(memory) {}

  // The next `count` elements, aligned to 64 bytes if the memory is.
  template <class T = float>
  T* Take(int64_t count) {
    auto* taken = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + size_);
    size_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 16;
    return taken;
  }
  int64_t size() const { return size_; }  // in floats

 private:
  float* memory_;
  int64_t size_ = 0;
};

}  // namespace grab
