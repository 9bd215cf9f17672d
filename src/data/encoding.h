// The streams that a shard block is made of (docs/formats/shard.md): byte planes, compressed each
// on its own, and integers as a constant, as planes or as a dictionary with codes. Decoders know
// how many values they expect, check every size against what is left of the input, and take memory
// only within a budget.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace grab {

// Ascending positions in a stream: of the values that are wanted where not all are.
using Positions = std::vector<uint32_t>;

// A dictionary-coded stream, kept so that a dependent column can be stored per entry instead of per
// value.
struct DictionaryCodes {
  std::vector<uint32_t> codes;  // empty: the stream had no dictionary
  uint32_t entries = 0;
};

class StreamEncoder {
 public:
  explicit StreamEncoder(int zstd_level);
  ~StreamEncoder();

  void PutByte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void PutU32(uint32_t value) { Put(&value, sizeof value); }
  void PutU64(uint64_t value) { Put(&value, sizeof value); }
  // Bytes of which the reader knows the number.
  void PutBytes(std::span<const uint8_t> bytes);
  // Fills `dictionary` when that is the encoding chosen; may be null.
  void PutInts(std::span<const uint64_t> values, DictionaryCodes* dictionary = nullptr);
  void PutFloats(std::span<const float> values, DictionaryCodes* dictionary = nullptr);

  const std::string& bytes() const { return out_; }

 private:
  void Put(const void* data, size_t bytes) { out_.append(static_cast<const char*>(data), bytes); }
  void PutPlanes(std::span<const uint64_t> values, uint64_t base, uint64_t scale, int width);
  bool FindDictionary(std::span<const uint64_t> values, int width);
  void PutDictionary(size_t n, DictionaryCodes* dictionary);

  int zstd_level_;
  ZSTD_CCtx_s* zstd_;
  std::string out_;
  std::vector<uint8_t> plane_;
  std::vector<uint64_t> as_ints_;
  // Scratch of FindDictionary: distinct values in order of code, and the code of every value.
  std::vector<uint64_t> entries_;
  std::vector<uint32_t> codes_;
};

class StreamDecoder {
 public:
  // `input` must outlive the decoder.
  explicit StreamDecoder(std::span<const uint8_t> input);
  ~StreamDecoder();

  StatusOr<uint8_t> TakeByte();
  StatusOr<uint32_t> TakeU32();
  StatusOr<uint64_t> TakeU64();
  // Valid until the next call.
  StatusOr<std::span<const uint8_t>> TakeBytes(uint64_t n);
  // Of the `n` values of the stream those at the positions `only`, all < n; null: all of them. So
  // are the codes of `dictionary`; its entries are the stream's.
  Status TakeInts(uint64_t n, std::vector<uint64_t>& out, DictionaryCodes* dictionary = nullptr,
                  const Positions* only = nullptr);
  // As TakeInts, for streams whose values must fit 32 bits.
  Status TakeInts32(uint64_t n, std::vector<uint32_t>& out, const Positions* only = nullptr);
  Status TakeFloats(uint64_t n, std::vector<float>& out, DictionaryCodes* dictionary = nullptr,
                    const Positions* only = nullptr);

  size_t position() const { return position_; }
  bool AtEnd() const { return position_ == input_.size(); }

 private:
  Status Take(void* out, size_t bytes);
  // One plane of `n` bytes, valid until the next call: in the input where it is stored raw.
  StatusOr<const uint8_t*> TakePlane(uint64_t n);
  // Adds the next `width` planes of `n` bytes up to integers.
  template <class T>
  Status TakePlanes(uint64_t n, int width, const Positions* only, std::vector<T>& out);
  Status TakeDictionary(uint64_t n, std::vector<uint64_t>& out, DictionaryCodes* dictionary,
                        const Positions* only);
  Status Malformed(absl::string_view detail) const;

  std::span<const uint8_t> input_;
  size_t position_ = 0;
  ZSTD_DCtx_s* zstd_;
  std::vector<uint8_t> plane_;
  std::vector<uint64_t> as_ints_;
};

inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

}  // namespace grab
