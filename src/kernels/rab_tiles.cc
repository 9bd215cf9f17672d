#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/rab_layout.h"
#include "kernels/rab_simd.h"

namespace grab {
namespace {

// One head of one key or value, in a tile's format.
struct Slot {
  const RabShape& shape;
  const TileLayout& layout;
  int64_t slot;
  uint32_t* tile;  // of the head
};

void WriteF32(const Slot& s, const float* k, const float* v) {
  auto* words = reinterpret_cast<float*>(s.tile);
  for (int64_t i = 0; i < s.shape.head_width; ++i) words[i * kTileKeys + s.slot] = k[i];
  std::copy_n(v, s.shape.head_width, words + s.layout.values + s.slot * s.layout.width);
}

// Element (step, column) of an array of words that hold `kPerWord` elements of type T.
template <class T>
T& InWord(uint32_t* words, int64_t word, int64_t element) {
  return reinterpret_cast<T*>(words + word)[element];
}

void WriteBf16(const Slot& s, const float* k, const float* v) {
  uint32_t* values = s.tile + s.layout.values + s.slot / 2 * s.layout.width;
  for (int64_t i = 0; i < s.shape.head_width; ++i) {
    InWord<uint16_t>(s.tile, i / 2 * kTileKeys + s.slot, i % 2) = Bf16Bits(k[i]);
    InWord<uint16_t>(values, i, s.slot % 2) = Bf16Bits(v[i]);
  }
}

// Scale of 8-bit integers that hold `values`.
float Int8Scale(const float* values, int64_t n) {
  float largest = 0.0f;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(values[i]));
  return largest / 127.0f;
}

void WriteInt8(const Slot& s, const float* k, const float* v) {
  const int64_t n = s.shape.head_width;
  const float k_scale = Int8Scale(k, n);
  const float v_scale = Int8Scale(v, n);
  const auto round = [](float x, float scale) {
    return static_cast<int8_t>(scale > 0.0f ? std::nearbyint(x / scale) : 0.0f);
  };
  uint32_t* values = s.tile + s.layout.values + s.slot / 4 * s.layout.width;
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int8_t key = round(k[i], k_scale);
    sum += key;
    InWord<int8_t>(s.tile, i / 4 * kTileKeys + s.slot, i % 4) = key;
    InWord<int8_t>(values, i, s.slot % 4) = round(v[i], v_scale);
  }
  auto* scales = reinterpret_cast<float*>(s.tile + s.layout.scales);
  scales[s.slot] = k_scale;
  reinterpret_cast<int32_t*>(scales + kTileKeys)[s.slot] = sum;
  scales[2 * kTileKeys + s.slot] = v_scale;
}

}  // namespace

size_t RabTileBytes(const RabShape& shape, Precision format) {
  return static_cast<size_t>(shape.heads * TileLayout(shape, format).head_words) * sizeof(uint32_t);
}

void WriteRabTile(const RabShape& shape, Precision format, const float* k, const float* v,
                  int64_t stride, const int32_t* action, const float* codebook_action, int64_t slot,
                  int64_t rows, void* tile) {
  GRAB_CHECK(slot >= 0 && rows >= 0 && slot + rows <= kTileKeys &&
             shape.head_width <= kHeadWidthMax);
  const TileLayout layout(shape, format);
  const int64_t width = shape.head_width;
  float key[kHeadWidthMax];
  for (int64_t h = 0; h < shape.heads; ++h) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = k + r * stride + h * width;
      const float* bias = codebook_action + (h * shape.action_classes + action[r]) * width;
      for (int64_t i = 0; i < width; ++i) key[i] = from[i] + bias[i];
      const Slot to = {shape, layout, slot + r,
                       static_cast<uint32_t*>(tile) + h * layout.head_words};
      const float* value = v + r * stride + h * width;
      switch (format) {
        case Precision::kF32:
          WriteF32(to, key, value);
          break;
        case Precision::kBf16:
          WriteBf16(to, key, value);
          break;
        case Precision::kInt8:
          WriteInt8(to, key, value);
          break;
      }
    }
  }
}

int64_t RabCodebookFloats(const RabShape& shape) {
  return shape.heads * CodebookPanels(shape) * kTileKeys * shape.head_width;
}

void PackRabCodebooks(const RabShape& shape, const float* position, const float* time,
                      const float* action, float* packed) {
  const int64_t width = shape.head_width;
  std::fill_n(packed, RabCodebookFloats(shape), 0.0f);
  for (int64_t h = 0; h < shape.heads; ++h) {
    const float* head_position = position + h * shape.position_buckets * width;
    const float* head_time = time + h * shape.time_buckets * width;
    const float* self = action + ((h + 1) * shape.action_classes - 1) * width;
    float* to = packed + h * CodebookPanels(shape) * kTileKeys * width;
    const auto at = [&](int64_t column, int64_t i) -> float& {
      return to[(column / kTileKeys * width + i) * kTileKeys + column % kTileKeys];
    };
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t b = 1; b < shape.position_buckets; ++b) {
        at(PositionColumn(shape, b), i) = head_position[b * width + i];
      }
      for (int64_t b = 1; b < shape.time_buckets; ++b) {
        at(TimeColumn(shape, b), i) = head_time[b * width + i];
      }
      at(SelfColumn(shape), i) = head_position[i] + head_time[i] + self[i];
    }
  }
}

}  // namespace grab
