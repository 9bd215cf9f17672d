// Memory aligned for SIMD, not initialised.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace grab {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes)
      : data_(::operator new(bytes, std::align_val_t(kAlignment))), bytes_(bytes) {}

  void* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<void, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace grab
