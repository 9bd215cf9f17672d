// The name a user may have meant.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grab {

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
size_t EditDistance(absl::string_view a, absl::string_view b);

// The candidate nearest to `name`, the first among equals; empty when none is near enough to be a
// misspelling (one edit per three characters, at least one).
std::string Nearest(absl::string_view name, const std::vector<std::string>& candidates);

// "; did you mean 'X'?", or nothing when X is empty.
std::string DidYouMean(absl::string_view nearest);

}  // namespace grab
