#include "cli/report_page.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_replace.h"
#include "cli/report_assets.h"

namespace grab {

std::string RenderReportPage(const nlohmann::json& report) {
  const std::string text = report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // In JSON "<" stands only in strings, where it may be written so: no tag or comment can begin.
  const std::string data = absl::StrReplaceAll(text, {{"<", "\\u003c"}});
  // One replacement of all: what is inserted is not looked at again.
  return absl::StrReplaceAll(kReportHtml, {{"@CSS@", kReportCss},
                                           {"@CHART_LICENSE@", kChartLicense},
                                           {"@CHART_JS@", kChartJs},
                                           {"@DATA@", data},
                                           {"@PAGE_JS@", kReportPageJs},
                                           {"@CHARTS_JS@", kReportChartsJs}});
}

}  // namespace grab
