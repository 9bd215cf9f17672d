// Rows of 16-bit floats, bf16 or f16 (IEEE binary16), as bits: widened to f32, and rounded from f32
// at random, so that steps far below a format's spacing still move a value, on average by their
// size.
#pragma once

#include <cstdint>

namespace grab {

// Exact; NaN stays NaN.
void Bf16RowToF32(int64_t n, const uint16_t* x, float* y);
void F16RowToF32(int64_t n, const uint16_t* x, float* y);

// y[i] is one of the two neighbours of x[i] in the format, the farther from zero with a probability
// that is x[i]'s place between them, to 2^-13 (f16) or 2^-16; drawn from (seed, i) alone. What the
// format holds exactly is kept, NaN and infinity too; beyond f16's largest is infinity.
void F32RowToBf16(int64_t n, const float* x, uint64_t seed, uint16_t* y);
void F32RowToF16(int64_t n, const float* x, uint64_t seed, uint16_t* y);

}  // namespace grab
