// Figures as files and on the screen.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/result.h"

namespace grab::bench {

// bench.json: a list; the machine first.
std::string ToJsonText(const nlohmann::json& machine, const std::vector<Figure>& figures);
// One table per section, in Markdown, with the peers' settings below.
std::string ToMarkdown(const nlohmann::json& machine, const std::vector<Figure>& figures);
// One table, for a terminal.
std::string ToText(const std::vector<Figure>& figures);

}  // namespace grab::bench
