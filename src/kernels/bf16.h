// The 16-bit float with f32's exponent, as bits.
#pragma once

#include <bit>
#include <cstdint>

namespace grab {

// Rounded to nearest, ties to even. NaN stays NaN.
inline uint16_t Bf16Bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

inline float FromBf16Bits(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace grab
