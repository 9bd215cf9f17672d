// Memory of libtorch's CPU tensors: counted, and kept between uses. A step allocates the same sizes
// again and again; malloc would return large blocks to the system and fault every page in anew.
#pragma once

#include <cstdint>

namespace grab {

// Every CPU tensor of the process that is made from now on takes its memory here. Freed blocks are
// kept for later tensors of two thirds of their size or more; with them the process holds at most
// twice the bytes that were ever in use at once.
// Calling it again changes nothing.
void InstallTensorMemory();

// Bytes of the blocks of tensors now, and the most since the last ResetTensorMemoryPeak. 0 if not
// installed.
struct TensorMemory {
  int64_t in_use = 0;
  int64_t peak = 0;
};
TensorMemory ReadTensorMemory();
void ResetTensorMemoryPeak();

}  // namespace grab
