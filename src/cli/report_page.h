// The page of `grab report`: one HTML file that needs nothing else, neither files nor a network.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace grab {

// `report` is what ReadReport gives (cli/report_data.h). Whatever its texts hold, none of them can
// become markup; bytes that are not UTF-8 are replaced.
std::string RenderReportPage(const nlohmann::json& report);

}  // namespace grab
