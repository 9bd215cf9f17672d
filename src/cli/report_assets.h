// The files that the page of `grab report` is made of, embedded at build time
// (cmake/GrabEmbed.cmake).
#pragma once

namespace grab {

extern const char kReportHtml[];      // report_page.html
extern const char kReportCss[];       // report_page.css
extern const char kReportPageJs[];    // report_page.js
extern const char kReportChartsJs[];  // report_charts.js
extern const char kChartJs[];         // Chart.js, minified
extern const char kChartLicense[];    // its licence

}  // namespace grab
