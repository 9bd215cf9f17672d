#include "data/encoding.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace grab {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

enum Plane : uint8_t { kRaw = 0, kSame = 1, kZstd = 2 };
enum Ints : uint8_t { kConstant = 0, kPlanes = 1, kDictionary = 2 };
enum Floats : uint8_t { kBits = 0, kIntegral = 1 };

constexpr size_t kZstdBytesMin = 64;      // smaller planes are stored raw
constexpr size_t kDictionaryMin = 16;     // fewer values never get a dictionary
constexpr double kIntegralMax = 1 << 24;  // integers that a float holds exactly

int BytesFor(uint64_t value) { return std::max<int>(1, (64 - std::countl_zero(value) + 7) / 8); }

bool IsIntegral(float value) {
  if (std::isnan(value)) return true;
  return std::fabs(value) <= kIntegralMax && value == std::floor(value) &&
         !(value == 0.0f && std::signbit(value));
}

// Missing is 0.
uint64_t IntegralToInt(float value) {
  return std::isnan(value) ? 0 : ZigZag(static_cast<int64_t>(value)) + 1;
}
float IntegralFromInt(uint64_t value) {
  return value == 0 ? std::numeric_limits<float>::quiet_NaN()
                    : static_cast<float>(UnZigZag(value - 1));
}

// Adds a plane to values whose byte at `shift` is still 0.
template <class T>
void AddPlane(const uint8_t* plane, int shift, const Positions* only, std::vector<T>& out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] |= static_cast<T>(plane[only == nullptr ? i : (*only)[i]]) << shift;
  }
}

}  // namespace

StreamEncoder::StreamEncoder(int zstd_level) : zstd_level_(zstd_level), zstd_(ZSTD_createCCtx()) {
  GRAB_CHECK(zstd_ != nullptr);
}
StreamEncoder::~StreamEncoder() { ZSTD_freeCCtx(zstd_); }

void StreamEncoder::PutBytes(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  if (std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; })) {
    PutByte(kSame);
    PutByte(bytes[0]);
    return;
  }
  const size_t begin = out_.size();
  if (bytes.size() >= kZstdBytesMin) {
    PutByte(kZstd);
    const size_t bound = ZSTD_compressBound(bytes.size());
    out_.resize(begin + 5 + bound);
    const size_t size = ZSTD_compressCCtx(zstd_, out_.data() + begin + 5, bound, bytes.data(),
                                          bytes.size(), zstd_level_);
    GRAB_CHECK_MSG(!ZSTD_isError(size), ZSTD_getErrorName(size));
    // A gain of a few percent does not pay for the time of decoding it.
    if (size + 5 < bytes.size() - bytes.size() / 32) {
      const uint32_t size32 = static_cast<uint32_t>(size);
      std::memcpy(out_.data() + begin + 1, &size32, sizeof size32);
      out_.resize(begin + 5 + size);
      return;
    }
    out_.resize(begin);
  }
  PutByte(kRaw);
  Put(bytes.data(), bytes.size());
}

void StreamEncoder::PutPlanes(std::span<const uint64_t> values, uint64_t base, uint64_t scale,
                              int width) {
  plane_.resize(values.size());
  for (int byte = 0; byte < width; ++byte) {
    for (size_t i = 0; i < values.size(); ++i) {
      const uint64_t offset = values[i] - base;
      plane_[i] = static_cast<uint8_t>((scale == 1 ? offset : offset / scale) >> (8 * byte));
    }
    PutBytes(plane_);
  }
}

// Fills entries_ and codes_ when a dictionary is likely smaller than planes of `width` bytes.
bool StreamEncoder::FindDictionary(std::span<const uint64_t> values, int width) {
  const size_t n = values.size();
  if (n < kDictionaryMin || width == 1 || n >= std::numeric_limits<uint32_t>::max()) return false;
  const size_t entries_max = n / 2;
  std::vector<uint32_t> slots(std::bit_ceil(2 * entries_max + 2), 0);  // entry + 1
  const size_t mask = slots.size() - 1;
  entries_.clear();
  codes_.resize(n);
  std::vector<uint32_t> counts;
  for (size_t i = 0; i < n; ++i) {
    size_t slot = Mix64(values[i]) & mask;
    while (slots[slot] != 0 && entries_[slots[slot] - 1] != values[i]) slot = (slot + 1) & mask;
    if (slots[slot] == 0) {
      if (entries_.size() == entries_max) return false;
      entries_.push_back(values[i]);
      counts.push_back(0);
      slots[slot] = static_cast<uint32_t>(entries_.size());
    }
    codes_[i] = slots[slot] - 1;
    ++counts[codes_[i]];
  }
  const size_t code_width = static_cast<size_t>(BytesFor(entries_.size() - 1));
  const size_t as_planes = n * static_cast<size_t>(width);
  if (entries_.size() * static_cast<size_t>(width) + n * code_width >= as_planes) return false;
  // Frequent values get small codes, so that the upper planes are nearly constant.
  std::vector<uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return counts[a] != counts[b] ? counts[a] > counts[b] : entries_[a] < entries_[b];
  });
  std::vector<uint32_t> code_of(order.size());
  std::vector<uint64_t> sorted(order.size());
  for (uint32_t code = 0; code < order.size(); ++code) {
    code_of[order[code]] = code;
    sorted[code] = entries_[order[code]];
  }
  entries_ = std::move(sorted);
  for (uint32_t& code : codes_) code = code_of[code];
  return true;
}

void StreamEncoder::PutDictionary(size_t n, DictionaryCodes* dictionary) {
  const uint32_t entries = static_cast<uint32_t>(entries_.size());
  PutByte(kDictionary);
  PutU32(entries);
  const int width = BytesFor(*std::max_element(entries_.begin(), entries_.end()));
  PutByte(static_cast<uint8_t>(width));
  PutPlanes(entries_, 0, 1, width);
  plane_.resize(n);
  for (int byte = 0; byte < BytesFor(entries - 1); ++byte) {
    for (size_t i = 0; i < n; ++i) plane_[i] = static_cast<uint8_t>(codes_[i] >> (8 * byte));
    PutBytes(plane_);
  }
  if (dictionary != nullptr) {
    dictionary->codes = codes_;
    dictionary->entries = entries;
  }
}

void StreamEncoder::PutInts(std::span<const uint64_t> values, DictionaryCodes* dictionary) {
  if (dictionary != nullptr) *dictionary = {};
  if (values.empty()) return;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const uint64_t base = *least;
  const uint64_t range = *most - base;
  if (range == 0) {
    PutByte(kConstant);
    PutU64(base);
    return;
  }
  uint64_t scale = 0;
  for (const uint64_t value : values) {
    scale = std::gcd(scale, value - base);
    if (scale == 1) break;
  }
  const int width = BytesFor(range / scale);
  if (FindDictionary(values, width)) {
    PutDictionary(values.size(), dictionary);
    return;
  }
  PutByte(kPlanes);
  PutU64(base);
  PutU64(scale);
  PutByte(static_cast<uint8_t>(width));
  PutPlanes(values, base, scale, width);
}

void StreamEncoder::PutFloats(std::span<const float> values, DictionaryCodes* dictionary) {
  if (dictionary != nullptr) *dictionary = {};
  if (values.empty()) return;
  std::vector<uint64_t> ints(values.size());
  if (std::all_of(values.begin(), values.end(), IsIntegral)) {
    PutByte(kIntegral);
    std::transform(values.begin(), values.end(), ints.begin(), IntegralToInt);
  } else {
    PutByte(kBits);
    std::transform(values.begin(), values.end(), ints.begin(),
                   [](float value) { return std::bit_cast<uint32_t>(value); });
  }
  PutInts(ints, dictionary);
}

StreamDecoder::StreamDecoder(std::span<const uint8_t> input)
    : input_(input), zstd_(ZSTD_createDCtx()) {
  GRAB_CHECK(zstd_ != nullptr);
}
StreamDecoder::~StreamDecoder() { ZSTD_freeDCtx(zstd_); }

Status StreamDecoder::Malformed(absl::string_view detail) const {
  return absl::DataLossError(std::string(detail));
}

Status StreamDecoder::Take(void* out, size_t bytes) {
  if (bytes > input_.size() - position_) {
    return Malformed(absl::StrCat("expected ", bytes, " bytes, the block has ",
                                  input_.size() - position_, " left"));
  }
  std::memcpy(out, input_.data() + position_, bytes);
  position_ += bytes;
  return absl::OkStatus();
}

StatusOr<uint8_t> StreamDecoder::TakeByte() {
  uint8_t value = 0;
  GRAB_RETURN_IF_ERROR(Take(&value, sizeof value));
  return value;
}
StatusOr<uint32_t> StreamDecoder::TakeU32() {
  uint32_t value = 0;
  GRAB_RETURN_IF_ERROR(Take(&value, sizeof value));
  return value;
}
StatusOr<uint64_t> StreamDecoder::TakeU64() {
  uint64_t value = 0;
  GRAB_RETURN_IF_ERROR(Take(&value, sizeof value));
  return value;
}

StatusOr<const uint8_t*> StreamDecoder::TakePlane(uint64_t n) {
  GRAB_ASSIGN_OR_RETURN(const uint8_t mode, TakeByte());
  if (mode == kRaw) {
    if (n > input_.size() - position_) {
      return Malformed(absl::StrCat("expected ", n, " bytes, the block has ",
                                    input_.size() - position_, " left"));
    }
    const uint8_t* plane = input_.data() + position_;
    position_ += n;
    return plane;
  }
  if (mode == kSame) {
    GRAB_ASSIGN_OR_RETURN(const uint8_t value, TakeByte());
    plane_.assign(n, value);
    return plane_.data();
  }
  if (mode != kZstd) return Malformed(absl::StrCat("unknown plane mode ", mode));
  GRAB_ASSIGN_OR_RETURN(const uint32_t size, TakeU32());
  if (size > input_.size() - position_) {
    return Malformed(absl::StrCat("a compressed plane of ", size, " bytes, the block has ",
                                  input_.size() - position_, " left"));
  }
  plane_.resize(n);
  const size_t got = ZSTD_decompressDCtx(zstd_, plane_.data(), n, input_.data() + position_, size);
  if (ZSTD_isError(got)) return Malformed(absl::StrCat("Zstd: ", ZSTD_getErrorName(got)));
  if (got != n) return Malformed(absl::StrCat("a plane of ", got, " bytes, expected ", n));
  position_ += size;
  return plane_.data();
}

StatusOr<std::span<const uint8_t>> StreamDecoder::TakeBytes(uint64_t n) {
  if (n == 0) return std::span<const uint8_t>();
  GRAB_ASSIGN_OR_RETURN(const uint8_t* plane, TakePlane(n));
  return std::span<const uint8_t>(plane, n);
}

template <class T>
Status StreamDecoder::TakePlanes(uint64_t n, int width, const Positions* only,
                                 std::vector<T>& out) {
  out.assign(only == nullptr ? n : only->size(), 0);
  for (int byte = 0; byte < width; ++byte) {
    GRAB_ASSIGN_OR_RETURN(const uint8_t* plane, TakePlane(n));
    AddPlane(plane, 8 * byte, only, out);
  }
  return absl::OkStatus();
}

Status StreamDecoder::TakeDictionary(uint64_t n, std::vector<uint64_t>& out,
                                     DictionaryCodes* dictionary, const Positions* only) {
  GRAB_ASSIGN_OR_RETURN(const uint32_t entries, TakeU32());
  GRAB_ASSIGN_OR_RETURN(const uint8_t width, TakeByte());
  if (entries == 0 || entries > n || width < 1 || width > 8) {
    return Malformed(absl::StrCat("a dictionary of ", entries, " entries of ", width, " bytes for ",
                                  n, " values"));
  }
  std::vector<uint64_t> values;
  GRAB_RETURN_IF_ERROR(TakePlanes(entries, width, nullptr, values));
  std::vector<uint32_t> codes;
  GRAB_RETURN_IF_ERROR(TakePlanes(n, BytesFor(entries - 1), only, codes));
  out.resize(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] >= entries) {
      return Malformed(absl::StrCat("a code beyond the ", entries, " entries of its dictionary"));
    }
    out[i] = values[codes[i]];
  }
  if (dictionary != nullptr) {
    dictionary->codes = std::move(codes);
    dictionary->entries = entries;
  }
  return absl::OkStatus();
}

Status StreamDecoder::TakeInts(uint64_t n, std::vector<uint64_t>& out, DictionaryCodes* dictionary,
                               const Positions* only) {
  if (dictionary != nullptr) *dictionary = {};
  out.clear();
  if (n == 0) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const uint8_t kind, TakeByte());
  if (kind == kConstant) {
    GRAB_ASSIGN_OR_RETURN(const uint64_t value, TakeU64());
    out.assign(only == nullptr ? n : only->size(), value);
    return absl::OkStatus();
  }
  if (kind == kDictionary) return TakeDictionary(n, out, dictionary, only);
  if (kind != kPlanes) return Malformed(absl::StrCat("unknown integer encoding ", kind));
  GRAB_ASSIGN_OR_RETURN(const uint64_t base, TakeU64());
  GRAB_ASSIGN_OR_RETURN(const uint64_t scale, TakeU64());
  GRAB_ASSIGN_OR_RETURN(const uint8_t width, TakeByte());
  if (width < 1 || width > 8) return Malformed(absl::StrCat("integers of ", width, " bytes"));
  GRAB_RETURN_IF_ERROR(TakePlanes(n, width, only, out));
  // Wraps around for malformed input, which the users of the values reject.
  if (base != 0 || scale != 1) {
    for (uint64_t& value : out) value = base + scale * value;
  }
  return absl::OkStatus();
}

Status StreamDecoder::TakeInts32(uint64_t n, std::vector<uint32_t>& out, const Positions* only) {
  GRAB_RETURN_IF_ERROR(TakeInts(n, as_ints_, nullptr, only));
  out.resize(as_ints_.size());
  uint64_t all = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    all |= as_ints_[i];
    out[i] = static_cast<uint32_t>(as_ints_[i]);
  }
  return all >> 32 == 0 ? absl::OkStatus() : Malformed("an integer larger than 32 bits");
}

Status StreamDecoder::TakeFloats(uint64_t n, std::vector<float>& out, DictionaryCodes* dictionary,
                                 const Positions* only) {
  if (dictionary != nullptr) *dictionary = {};
  out.clear();
  if (n == 0) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const uint8_t kind, TakeByte());
  if (kind > kIntegral) return Malformed(absl::StrCat("unknown number encoding ", kind));
  GRAB_RETURN_IF_ERROR(TakeInts(n, as_ints_, dictionary, only));
  out.resize(as_ints_.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = kind == kIntegral ? IntegralFromInt(as_ints_[i])
                               : std::bit_cast<float>(static_cast<uint32_t>(as_ints_[i]));
  }
  return absl::OkStatus();
}

}  // namespace grab
