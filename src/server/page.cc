#include "server/page.h"

#include "absl/strings/str_replace.h"

namespace grab {

// Built in from page.html and others.
extern const char kServerPageHtml[];
extern const char kServerPageCss[];
extern const char kServerPageJs[];
extern const char kServerChartJs[];

std::string RenderServerPage() {
  return absl::StrReplaceAll(kServerPageHtml, {{"/*STYLE*/", kServerPageCss},
                                               {"/*CHART*/", kServerChartJs},
                                               {"/*SCRIPT*/", kServerPageJs}});
}

}  // namespace grab
