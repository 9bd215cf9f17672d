#include "bench/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/text_table.h"

namespace grab::bench {
namespace {

std::string Digits(double value) { return absl::StrFormat("%.4g", value); }

std::string Quartiles(const Figure& figure) {
  return absl::StrCat(Digits(figure.spread.p25), " to ", Digits(figure.spread.p75));
}

std::string SideOf(const Series& series) {
  return absl::StrCat(series.name, " ", Digits(Summarise(series.values).median), " ", series.unit);
}

// "padded ATen 812 ms / ours 21 ms"; empty for a figure that is not a ratio.
std::string Sides(const Figure& figure) {
  if (!figure.numerator.has_value()) return "";
  return absl::StrCat(SideOf(*figure.numerator), " / ", SideOf(*figure.denominator));
}

std::vector<std::string> Sections(const std::vector<Figure>& figures) {
  std::vector<std::string> sections;
  for (const Figure& figure : figures) {
    if (std::find(sections.begin(), sections.end(), figure.section) == sections.end()) {
      sections.push_back(figure.section);
    }
  }
  return sections;
}

}  // namespace

std::string ToJsonText(const nlohmann::json& machine, const std::vector<Figure>& figures) {
  nlohmann::json list = {machine};
  for (const Figure& figure : figures) list.push_back(figure.ToJson());
  return list.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string ToMarkdown(const nlohmann::json& machine, const std::vector<Figure>& figures) {
  std::string out = absl::StrCat(machine["value"].get<int>(), " cores");
  for (const auto& [key, value] : machine["details"].items()) {
    absl::StrAppend(&out, "; ", key, " ",
                    value.is_string() ? value.get<std::string>() : value.dump());
  }
  absl::StrAppend(&out, ".\n");
  for (const std::string& section : Sections(figures)) {
    absl::StrAppend(&out, "\n### ", section,
                    "\n\n| figure | value | unit | quartiles | sides | conditions |\n",
                    "|---|---|---|---|---|---|\n");
    std::vector<std::string> settings;
    for (const Figure& figure : figures) {
      if (figure.section != section) continue;
      absl::StrAppend(&out, "| ", figure.name, " | ", Digits(figure.value), " | ", figure.unit,
                      " | ", Quartiles(figure), " | ", Sides(figure), " | ", figure.conditions,
                      " |\n");
      for (const std::string& line : figure.settings) {
        if (std::find(settings.begin(), settings.end(), line) == settings.end()) {
          settings.push_back(line);
        }
      }
    }
    for (const std::string& line : settings) absl::StrAppend(&out, "\n* ", line);
    if (!settings.empty()) out += "\n";
  }
  return out;
}

std::string ToText(const std::vector<Figure>& figures) {
  std::vector<std::vector<std::string>> rows = {{"figure", "value", "unit", "quartiles", "sides"}};
  for (const Figure& figure : figures) {
    rows.push_back(
        {figure.name, Digits(figure.value), figure.unit, Quartiles(figure), Sides(figure)});
  }
  return TextTable(rows);
}

}  // namespace grab::bench
