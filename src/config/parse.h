// TOML and --set to settings, with the place of every key kept for later messages.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "config/settings.h"

namespace grab {

struct ParsedConfig {
  Config config;
  // Where the setting of a key, or the nearest table around it, was given: "FILE:LINE:COLUMN" or
  // "--set KEY".
  std::function<std::string(absl::string_view key)> place;
};

// As ParseConfig (config/config.h).
StatusOr<ParsedConfig> ParseSettings(absl::string_view toml, const std::string& file,
                                     const std::vector<std::string>& overrides);

}  // namespace grab
