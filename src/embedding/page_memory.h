// Memory for many rows: grows without a moment that needs twice the bytes, and lies in huge pages
// where it is large, since rows are read at random.
#pragma once

#include <cstddef>
#include <utility>

namespace grab {

class PageMemory {
 public:
  PageMemory() = default;
  ~PageMemory();
  PageMemory(PageMemory&& other) noexcept { *this = std::move(other); }
  PageMemory& operator=(PageMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // At least `bytes`; what is new is zero and takes no memory until it is touched. data() may move.
  // std::bad_alloc when the system has no more.
  void Grow(size_t bytes);

 private:
  // Below this a block is the heap's, and growing copies it; a mapping of its own costs pages and
  // one of the process's few ten thousand mappings.
  static constexpr size_t kMappedFrom = size_t{256} << 10;

  void Release();

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace grab
