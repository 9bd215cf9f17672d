// The project's only hash: XXH3-64. Ids are hashed as their text, so that 42 in a CSV, in Parquet
// and in a request agree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace grab {

uint64_t HashBytes(const void* data, size_t bytes, uint64_t seed = 0);

// Key of an id. Never 0: 0 means "missing" everywhere.
uint64_t HashId(absl::string_view text);
uint64_t HashId(int64_t value);  // the same as of its decimal text

// Mixes two keys in order (crosses, seeds). Not commutative; never 0.
uint64_t HashCombine(uint64_t a, uint64_t b);

}  // namespace grab
