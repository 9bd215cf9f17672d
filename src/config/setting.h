// What settings are declared with (config/settings.h): allowed values, and bounds of lists.
#pragma once

#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace grab {

// Elements of a list. A shard keeps feedback and labels as bits of 32-bit words and counts fields
// in 16 bits.
inline constexpr size_t kActionsMax = 31;
inline constexpr size_t kTasksMax = 31;
inline constexpr size_t kFieldsMax = 1024;

// Allowed values of a setting: an inclusive range for numbers (and for every element of a list of
// numbers), or a closed list of words for strings (and for every element of a list of strings).
struct Constraint {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> words;
};
inline Constraint Between(double min, double max) { return {min, max, {}}; }
inline Constraint AtLeast(double min) { return {min, std::numeric_limits<double>::infinity(), {}}; }
inline Constraint OneOf(std::vector<std::string> words) {
  Constraint constraint;
  constraint.words = std::move(words);
  return constraint;
}
inline Constraint Anything() { return {}; }

using StringMap = std::map<std::string, std::string>;

}  // namespace grab
