#include "embedding/page_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace grab {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Addresses without memory, on a multiple of a huge page.
std::byte* ReserveAddresses(size_t bytes) {
  void* all = mmap(nullptr, bytes + kHugePage, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(all);
  const size_t before =
      RoundUp(reinterpret_cast<uintptr_t>(all), kHugePage) - reinterpret_cast<uintptr_t>(all);
  if (before > 0) munmap(begin, before);
  munmap(begin + before + bytes, kHugePage - before);
  return begin + before;
}

std::byte* Map(size_t bytes) {
  std::byte* at = ReserveAddresses(bytes);
  if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    munmap(at, bytes);
    throw std::bad_alloc();
  }
  return at;
}

// Moves the pages, not the bytes.
std::byte* Remap(std::byte* from, size_t from_bytes, size_t bytes) {
  std::byte* at = ReserveAddresses(bytes);
  if (mremap(from, from_bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
    munmap(at, bytes);
    throw std::bad_alloc();
  }
  return at;
}

}  // namespace

PageMemory::~PageMemory() { Release(); }

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void PageMemory::Release() {
  if (data_ == nullptr) return;
  if (bytes_ < kMappedFrom) {
    std::free(data_);
  } else {
    munmap(data_, bytes_);
  }
}

void PageMemory::Grow(size_t bytes) {
  if (bytes <= bytes_) return;
  size_t size = std::max(bytes, bytes_ + bytes_ / 4);
  if (size < kMappedFrom) {
    void* data = std::realloc(data_, size);
    if (data == nullptr) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(data);
    std::memset(data_ + bytes_, 0, size - bytes_);
    bytes_ = size;
    return;
  }
  size = RoundUp(size, size < kHugePage ? kPage : kHugePage);
  std::byte* data = nullptr;
  if (bytes_ >= kMappedFrom) {
    data = Remap(data_, bytes_, size);
  } else {
    data = Map(size);
    if (bytes_ > 0) std::memcpy(data, data_, bytes_);
    std::free(data_);
  }
  // A kernel without huge pages refuses: slower, not wrong.
  if (size >= kHugePage) madvise(data, size, MADV_HUGEPAGE);
  data_ = data;
  bytes_ = size;
}

}  // namespace grab
