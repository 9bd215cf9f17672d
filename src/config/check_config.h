// The rules behind CheckConfig (config/config.h), with key and message apart so that LoadConfig can
// add the place.
#pragma once

#include <optional>
#include <string>

#include "config/settings.h"

namespace grab {

struct ConfigProblem {
  std::string key;  // as in messages: field.3.dim
  std::string detail;
};

// The first problem; what others refer to is looked at first.
std::optional<ConfigProblem> FindProblem(const Config& config);

}  // namespace grab
