#include "config/config.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "config/check_config.h"
#include "config/parse.h"

namespace grab {
namespace {

constexpr size_t kMessageBytesMax = 1000;

// Names and SQL of the file end in messages: control characters are escaped and length is bounded.
Status BadConfig(absl::string_view message) {
  std::string line;
  for (const char c : message.substr(0, kMessageBytesMax)) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
  }
  if (message.size() > kMessageBytesMax) line += "...";
  return absl::InvalidArgumentError(line);
}

StatusOr<ParsedConfig> Parse(absl::string_view toml, const std::string& file,
                             const std::vector<std::string>& overrides) {
  StatusOr<ParsedConfig> parsed = ParseSettings(toml, file, overrides);
  if (!parsed.ok()) return BadConfig(parsed.status().message());
  return parsed;
}

}  // namespace

StatusOr<Config> LoadConfig(const std::string& path, const std::vector<std::string>& overrides) {
  GRAB_ASSIGN_OR_RETURN(const std::string toml, ReadFile(path, kConfigBytesMax));
  GRAB_ASSIGN_OR_RETURN(ParsedConfig parsed, Parse(toml, path, overrides));
  const std::optional<ConfigProblem> problem = FindProblem(parsed.config);
  if (problem.has_value()) {
    return BadConfig(
        absl::StrCat(parsed.place(problem->key), ": ", problem->key, ": ", problem->detail));
  }
  return std::move(parsed.config);
}

StatusOr<Config> ParseConfig(absl::string_view toml, const std::string& file,
                             const std::vector<std::string>& overrides) {
  GRAB_ASSIGN_OR_RETURN(ParsedConfig parsed, Parse(toml, file, overrides));
  return std::move(parsed.config);
}

Status CheckConfig(const Config& config) {
  const std::optional<ConfigProblem> problem = FindProblem(config);
  if (!problem.has_value()) return absl::OkStatus();
  return BadConfig(absl::StrCat(problem->key, ": ", problem->detail));
}

std::string FormatTimeMs(int64_t time_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(time_ms), absl::UTCTimeZone());
}

StatusOr<int64_t> ParseTimeMs(absl::string_view iso8601) {
  const auto fail = [&](absl::string_view detail) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a time such as 2022-04-25T00:00:00+08:00, got '",
                     iso8601.substr(0, 80), "'", detail));
  };
  // absl::ParseTime also takes surrounding blanks and the words for infinity.
  if (iso8601.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(iso8601.front())) ||
      absl::ascii_isspace(static_cast<unsigned char>(iso8601.back()))) {
    return fail("");
  }
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, iso8601, &time, &error)) {
    return fail(absl::StrCat(": ", error));
  }
  const int64_t time_ms = absl::ToUnixMillis(time);
  if (absl::FromUnixMillis(time_ms) != time) return fail(": finer than a millisecond");
  return time_ms;
}

}  // namespace grab
