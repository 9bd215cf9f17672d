// grab report: a finished comparison as one page.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/report_data.h"
#include "cli/report_page.h"

namespace grab {
namespace {

struct Options {
  std::string compare;
  std::string out;
};

Status Report(const Options& options) {
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json report, ReadReport(options.compare, *progress));
  const std::string page = RenderReportPage(report);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out, page));
  for (const nlohmann::json& note : report["notes"]) {
    std::printf("note: %s\n", note["text"].get<std::string>().c_str());
  }
  std::printf("%s: %s bytes, %zu models\n", options.out.c_str(),
              HumanCount(static_cast<double>(page.size())).c_str(),
              report["comparison"]["models"].size());
  return absl::OkStatus();
}

}  // namespace

void AddReport(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub =
      app.add_subcommand("report", "A finished comparison as one HTML page with charts");
  sub->add_option("--compare", options->compare, "Folder that grab compare, ablate or scale wrote")
      ->required()
      ->type_name("DIR");
  sub->add_option("--out", options->out, "HTML file to write; it needs no other file, no network")
      ->required()
      ->type_name("FILE");
  sub->footer(
      "The comparison's table; AUC against what grab scale varied; AUC by length of history and\n"
      "over the time of the test; calibration; where GRAB looks; training curves; cost against\n"
      "quality; and what the data are like: events per user, label\n"
      "rates over time, how much of the test is new. What DIR lacks is said in the page. It "
      "prints,\n"
      "and reads on a phone (docs/report.md).\n\n"
      "Examples:\n"
      "  grab report --compare runs/zoo --out runs/zoo/report.html\n"
      "  grab compare --config configs/simulator.toml --out runs/zoo --models dlrm,din,grab "
      "--seeds "
      "1,2,3\n"
      "  grab report --compare runs/zoo --out zoo.html && xdg-open zoo.html");
  sub->callback([&command, options] { command = [options] { return Report(*options); }; });
}

}  // namespace grab
