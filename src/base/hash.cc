#include "base/hash.h"

#include <xxhash.h>

#include <charconv>

namespace grab {
namespace {

uint64_t NonZero(uint64_t hash) { return hash == 0 ? 1 : hash; }

}  // namespace

uint64_t HashBytes(const void* data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

uint64_t HashId(absl::string_view text) { return NonZero(XXH3_64bits(text.data(), text.size())); }

uint64_t HashId(int64_t value) {
  char text[24];
  const auto result = std::to_chars(text, text + sizeof(text), value);
  return HashId(absl::string_view(text, static_cast<size_t>(result.ptr - text)));
}

uint64_t HashCombine(uint64_t a, uint64_t b) {
  const uint64_t pair[2] = {a, b};
  return NonZero(XXH3_64bits(pair, sizeof(pair)));
}

}  // namespace grab
