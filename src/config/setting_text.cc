#include "config/setting_text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"

namespace grab {
namespace {

// Shortest text that reads back to the same double.
std::string ShortestText(double value) {
  GRAB_CHECK(std::isfinite(value));
  char buffer[32];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

std::string BoundText(double value) {
  constexpr double kPrintedInFullMax = 1e16;
  if (value == std::floor(value) && std::abs(value) < kPrintedInFullMax) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return ShortestText(value);
}

bool IsBare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

void AppendEscaped(absl::string_view text, bool keep_line_breaks, std::string& out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n' && !keep_line_breaks) {
      out += "\\n";
    } else if (c == '\t' || c == '\n') {
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04X", byte);
    } else {
      out += c;
    }
  }
}

template <class T>
std::string ListText(const std::vector<T>& values) {
  return absl::StrCat("[",
                      absl::StrJoin(values, ", ",
                                    [](std::string* out, const T& value) {
                                      if constexpr (std::is_same_v<T, std::string>) {
                                        out->append(TomlString(value));
                                      } else {
                                        out->append(TomlValue(value));
                                      }
                                    }),
                      "]");
}

}  // namespace

std::string TomlKey(absl::string_view key) {
  for (const char c : key) {
    if (!IsBare(c)) return TomlString(key);
  }
  return key.empty() ? TomlString(key) : std::string(key);
}

std::string TomlString(absl::string_view text) {
  std::string out = "\"";
  AppendEscaped(text, false, out);
  out += '"';
  return out;
}

std::string TomlValue(bool value) { return value ? "true" : "false"; }

std::string TomlValue(int64_t value) { return absl::StrCat(value); }

std::string TomlValue(double value) {
  const std::string text = ShortestText(value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string TomlValue(const std::string& value) {
  if (value.find('\n') == std::string::npos) return TomlString(value);
  std::string out = "\"\"\"\n";
  AppendEscaped(value, true, out);
  out += "\"\"\"";
  return out;
}

std::string TomlValue(const std::vector<int64_t>& value) { return ListText(value); }
std::string TomlValue(const std::vector<double>& value) { return ListText(value); }
std::string TomlValue(const std::vector<std::string>& value) { return ListText(value); }

std::string TomlValue(const StringMap& value) {
  if (value.empty()) return "{}";
  return absl::StrCat("{ ",
                      absl::StrJoin(value, ", ",
                                    [](std::string* out, const StringMap::value_type& entry) {
                                      absl::StrAppend(out, TomlKey(entry.first), " = ",
                                                      TomlString(entry.second));
                                    }),
                      " }");
}

std::string RangeText(const Constraint& constraint) {
  if (!constraint.words.empty()) {
    return absl::StrCat("one of ", absl::StrJoin(constraint.words, ", "));
  }
  const bool lower = std::isfinite(constraint.min);
  const bool upper = std::isfinite(constraint.max);
  if (lower && upper) {
    return absl::StrCat(BoundText(constraint.min), " to ", BoundText(constraint.max));
  }
  if (lower) return absl::StrCat("at least ", BoundText(constraint.min));
  if (upper) return absl::StrCat("at most ", BoundText(constraint.max));
  return "";
}

}  // namespace grab
