// What a measurement runs under: threads of libtorch, OpenMP and OpenBLAS, and how malloc treats
// large blocks. Peers are searched over these (bench/sweep.h); they moved PyTorch's own speed 3x.
#pragma once

#include <string>

namespace grab::bench {

// glibc's malloc: from which size a block is mapped and unmapped by itself, so that every operator
// faults its pages in anew, and when freed memory goes back to the system.
enum class Allocator {
  kSmall,   // from 128 KiB: what glibc starts with
  kRaised,  // from 32 MiB, the largest it takes: what grab-train sets
  kHeap,    // never, and nothing goes back
};

struct ProcessSettings {
  int threads = 1;       // at::set_num_threads, which is OpenMP's and so oneDNN's number too
  int blas_threads = 1;  // openblas_set_num_threads
  Allocator allocator = Allocator::kRaised;

  bool operator==(const ProcessSettings&) const = default;
};

// For the whole process.
void Apply(const ProcessSettings& settings);

const char* Name(Allocator allocator);
std::string Describe(const ProcessSettings& settings);

// "Cooperlake", ...: the kernels OpenBLAS chose, or empty.
std::string BlasCore();

}  // namespace grab::bench
