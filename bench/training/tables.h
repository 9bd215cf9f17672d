// A large embedding table: the memory it takes over its payload, and a step of it over the time
// that moving the step's bytes takes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "bench/result.h"

namespace grab::bench {

struct LargeTable {
  uint64_t rows = 50'000'000;
  uint32_t dim = 32;
  uint64_t batch_keys = 100'000;
  int threads = 1;
  int rounds = 15;
};

// table_memory_over_payload: growth of the process's resident memory over values and optimiser
// state (row-wise Adagrad, f32) of all rows. table_step_over_memory_time: look-up, gathering and
// update of a batch of distinct keys drawn at random, over the peer: a loop that copies the same
// rows, whose addresses it knows, out, then reads gradients and adds them to the rows and their
// state; as many threads, prefetched as ours. table_step_over_memcpy_time: over copying as many
// bytes in order.
StatusOr<std::vector<Figure>> MeasureTable(const LargeTable& options);

}  // namespace grab::bench
