#include "bench/process.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <malloc.h>

#include "absl/strings/str_cat.h"

namespace grab::bench {
namespace {

void SetAllocator(Allocator allocator) {
  constexpr int kNever = -1;  // M_TRIM_THRESHOLD is compared as an unsigned number
  constexpr int kMapsMax = 65536;
  const int threshold = allocator == Allocator::kSmall ? 128 << 10 : 1 << 25;
  mallopt(M_MMAP_MAX, allocator == Allocator::kHeap ? 0 : kMapsMax);
  mallopt(M_MMAP_THRESHOLD, threshold);
  mallopt(M_TRIM_THRESHOLD, allocator == Allocator::kHeap ? kNever : threshold);
}

}  // namespace

void Apply(const ProcessSettings& settings) {
  at::set_num_threads(settings.threads);
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) {
    set(settings.blas_threads);
  }
  SetAllocator(settings.allocator);
}

const char* Name(Allocator allocator) {
  switch (allocator) {
    case Allocator::kSmall:
      return "malloc maps from 128 KiB";
    case Allocator::kRaised:
      return "malloc maps from 32 MiB";
    case Allocator::kHeap:
      break;
  }
  return "malloc never maps";
}

std::string Describe(const ProcessSettings& settings) {
  return absl::StrCat("torch threads ", settings.threads, ", OpenBLAS threads ",
                      settings.blas_threads, ", ", Name(settings.allocator));
}

std::string BlasCore() {
  using CoreName = char* (*)();
  auto* name = reinterpret_cast<CoreName>(dlsym(RTLD_DEFAULT, "openblas_get_corename"));
  return name == nullptr ? "" : name();
}

}  // namespace grab::bench
