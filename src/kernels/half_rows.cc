#include "kernels/half_rows.h"

#include <bit>

#include "base/rng.h"
#include "kernels/bf16.h"

namespace grab {
namespace {

constexpr uint32_t kInfinity = 0x7f800000u;        // of f32
constexpr uint32_t kSmallestNormal = 0x38800000u;  // of f16, as f32: 2^-14
constexpr uint32_t kRebias = 0x38000000u;          // between the exponents of f16 and f32
constexpr uint32_t kF16Infinity = 0x7c00u;

float FromF16Bits(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= kF16Infinity) return std::bit_cast<float>(sign | kInfinity | magnitude << 13);
  if (magnitude < 0x400u) {
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + kRebias));
}

// `random`: 16 bits.
uint16_t Bf16AtRandom(float value, uint32_t random) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & kInfinity) == kInfinity) return Bf16Bits(value);
  return static_cast<uint16_t>((bits + random) >> 16);
}

uint16_t F16AtRandom(float value, uint32_t random) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude >= kInfinity) {
    return static_cast<uint16_t>(sign | kF16Infinity | (magnitude > kInfinity ? 0x200u : 0u));
  }
  if (magnitude < kSmallestNormal) {
    const float steps = std::bit_cast<float>(magnitude) * 0x1p24f;
    const auto whole = static_cast<uint32_t>(steps);
    const bool up = steps - static_cast<float>(whole) > static_cast<float>(random) * 0x1p-16f;
    return static_cast<uint16_t>(sign | (whole + (up ? 1u : 0u)));
  }
  const uint32_t rounded = (magnitude + (random >> 3) - kRebias) >> 13;
  return static_cast<uint16_t>(sign | (rounded < kF16Infinity ? rounded : kF16Infinity));
}

// Four elements share the 64 bits of one draw.
template <class Round>
void RoundRow(int64_t n, const float* x, uint64_t seed, const Round& round, uint16_t* y) {
  for (int64_t i = 0; i < n; i += 4) {
    uint64_t random = Mix64(seed ^ Mix64(static_cast<uint64_t>(i)));
    for (int64_t j = i; j < n && j < i + 4; ++j, random >>= 16) {
      y[j] = round(x[j], static_cast<uint32_t>(random & 0xffffu));
    }
  }
}

}  // namespace

void Bf16RowToF32(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = FromBf16Bits(x[i]);
}

void F16RowToF32(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = FromF16Bits(x[i]);
}

void F32RowToBf16(int64_t n, const float* x, uint64_t seed, uint16_t* y) {
  RoundRow(
      n, x, seed, [](float value, uint32_t random) { return Bf16AtRandom(value, random); }, y);
}

void F32RowToF16(int64_t n, const float* x, uint64_t seed, uint16_t* y) {
  RoundRow(
      n, x, seed, [](float value, uint32_t random) { return F16AtRandom(value, random); }, y);
}

}  // namespace grab
