#include "train/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace grab {
namespace {

// Block sizes: eight per power of two from 512 bytes on, so that at most an eighth is wasted.
constexpr int kSmallestLog2 = 9;
constexpr int kClasses = 8 * (64 - kSmallestLog2);

int SizeClass(size_t bytes) {
  if (bytes <= size_t{1} << kSmallestLog2) return 0;
  const int log2 = std::bit_width(bytes - 1) - 1;  // 2^log2 < bytes <= 2^(log2 + 1)
  const size_t eighth = size_t{1} << (log2 - 3);
  const auto step = static_cast<int>((bytes - (size_t{1} << log2) + eighth - 1) / eighth);
  return 8 * (log2 - kSmallestLog2) + step;
}

size_t ClassBytes(int size_class) {
  const int log2 = kSmallestLog2 + size_class / 8;
  return (size_t{1} << log2) + static_cast<size_t>(size_class % 8) * (size_t{1} << (log2 - 3));
}

class Pool {
 public:
  void* Take(size_t bytes) {
    const int size_class = SizeClass(bytes);
    {
      const std::lock_guard lock(mutex_);
      for (int c = size_class; c <= std::min(size_class + kClassesAbove, kClasses - 1); ++c) {
        std::vector<void*>& free = free_[static_cast<size_t>(c)];
        if (free.empty()) continue;
        void* block = free.back();
        free.pop_back();
        const auto size = static_cast<int64_t>(ClassBytes(c));
        kept_ -= size;
        Use(size);
        return block;
      }
      Use(static_cast<int64_t>(ClassBytes(size_class)));
    }
    // The class stands in front of the data, in a line of its own to keep the data aligned.
    void* memory = nullptr;
    if (posix_memalign(&memory, kLine, ClassBytes(size_class) + kLine) != 0) {
      throw std::bad_alloc();  // what libtorch expects of an allocator
    }
    *static_cast<int*>(memory) = size_class;
    return static_cast<char*>(memory) + kLine;
  }

  void Give(void* block) {
    void* memory = static_cast<char*>(block) - kLine;
    const int size_class = *static_cast<int*>(memory);
    const auto size = static_cast<int64_t>(ClassBytes(size_class));
    {
      const std::lock_guard lock(mutex_);
      in_use_ -= size;
      if (in_use_ + kept_ + size > 2 * most_) FreeKept();
      kept_ += size;
      free_[static_cast<size_t>(size_class)].push_back(block);
    }
  }

  TensorMemory Read() {
    const std::lock_guard lock(mutex_);
    return {in_use_, peak_};
  }
  void ResetPeak() {
    const std::lock_guard lock(mutex_);
    peak_ = in_use_;
  }

 private:
  static constexpr size_t kLine = 64;
  // A tensor may stand in a block of up to half as much again: sizes that follow the data, as those
  // of pairs of candidates and events do, hardly ever come back just so.
  static constexpr int kClassesAbove = 4;

  void Use(int64_t size) {
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
    most_ = std::max(most_, in_use_);
  }

  // All of them: which sizes will not come back is not known, and those that do come back soon.
  void FreeKept() {
    for (std::vector<void*>& free : free_) {
      for (void* block : free) std::free(static_cast<char*>(block) - kLine);
      free.clear();
    }
    kept_ = 0;
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> free_;
  int64_t in_use_ = 0, peak_ = 0;
  int64_t most_ = 0;  // ever in use at once
  int64_t kept_ = 0;  // free, for reuse
};

// Never destroyed: tensors of static lifetime are freed after main.
Pool& ThePool() {
  static auto* pool = new Pool;
  return *pool;
}

void Delete(void* block) {
  if (block != nullptr) ThePool().Give(block);
}

struct PoolAllocator final : c10::Allocator {
#if TORCH_VERSION_MAJOR >= 2
  c10::DataPtr allocate(size_t bytes) override { return Allocate(bytes); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
#else
  c10::DataPtr allocate(size_t bytes) const override { return Allocate(bytes); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }

 private:
  static c10::DataPtr Allocate(size_t bytes) {
    void* block = bytes == 0 ? nullptr : ThePool().Take(bytes);
    return {block, block, &Delete, c10::Device(c10::DeviceType::CPU)};
  }
};

}  // namespace

void InstallTensorMemory() {
  static PoolAllocator allocator;
  c10::SetCPUAllocator(&allocator);
}

TensorMemory ReadTensorMemory() { return ThePool().Read(); }

void ResetTensorMemoryPeak() { ThePool().ResetPeak(); }

}  // namespace grab
