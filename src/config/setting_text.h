// Settings as text: values as TOML, types and ranges as English. Errors, dump and docs share it.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/settings.h"

namespace grab {

// A key as TOML writes it: bare where possible, else quoted.
std::string TomlKey(absl::string_view key);
// One line, in double quotes.
std::string TomlString(absl::string_view text);

// The value as TOML that reads back equal. Text with line breaks becomes a multi-line string.
std::string TomlValue(bool value);
std::string TomlValue(int64_t value);
std::string TomlValue(double value);  // finite
std::string TomlValue(const std::string& value);
std::string TomlValue(const std::vector<int64_t>& value);
std::string TomlValue(const std::vector<double>& value);
std::string TomlValue(const std::vector<std::string>& value);
std::string TomlValue(const StringMap& value);

// "whole number", "text", "list of numbers".
template <class T>
constexpr const char* TypeText() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "whole number";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "list of whole numbers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list of texts";
  if constexpr (std::is_same_v<T, StringMap>) return "table of texts";
}

// "1 to 4096", "at least 0", "one of a, b"; empty when anything goes.
std::string RangeText(const Constraint& constraint);

}  // namespace grab
