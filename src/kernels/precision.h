// Number formats of weights, of the rows they multiply, and of cached keys and values. Sums are f32
// (s32 for kInt8) in all of them.
#pragma once

#include <cstdint>

namespace grab {

enum class Precision : uint8_t {
  kF32,
  kBf16,  // rounded to bf16
  kInt8,  // 8-bit integers with f32 scales; inference only
};

// Elements in one word of 4 bytes.
constexpr int64_t WordElements(Precision precision) {
  return precision == Precision::kF32 ? 1 : precision == Precision::kBf16 ? 2 : 4;
}

}  // namespace grab
