// grab prepare
#include "data/prepare.h"

#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "config/config.h"
#include "data/timeline.h"

namespace grab {
namespace {

void PrintReasons(const char* title, const Reasons& reasons) {
  for (const auto& [reason, entry] : reasons.by_reason()) {
    std::printf("  %s: %s: %" PRIu64 "%s%s\n", title, reason.c_str(), entry.count,
                entry.examples.empty() ? "" : ", as ",
                entry.examples.empty() ? "" : entry.examples[0].c_str());
  }
}

void Print(const PrepareReport& report, const std::string& out) {
  std::printf("%s: %" PRIu64 " rows read in %s (%s rows/s), %" PRIu64 " events of %" PRIu64
              " users, %s bytes\n",
              out.c_str(), report.rows_read, HumanSeconds(report.wall_s).c_str(),
              HumanCount(static_cast<double>(report.rows_read) / report.wall_s).c_str(),
              report.events, report.users,
              HumanCount(static_cast<double>(report.size_bytes)).c_str());
  std::printf("  targets: train %" PRIu64 ", valid %" PRIu64 ", test %" PRIu64
              "; history only %" PRIu64 "; rows hash %s\n",
              report.targets[static_cast<size_t>(Split::kTrain)],
              report.targets[static_cast<size_t>(Split::kValid)],
              report.targets[static_cast<size_t>(Split::kTest)],
              report.targets[static_cast<size_t>(Split::kContext)], report.rows_hash.c_str());
  if (report.rows_filtered > 0) {
    std::printf("  filtered by the config: %" PRIu64 "\n", report.rows_filtered);
  }
  PrintReasons("rejected", report.rejects);
  PrintReasons("note", report.notes);
  std::printf("  more in %s\n", JoinPath(out, kReportName).c_str());
}

}  // namespace

void AddPrepare(CLI::App& app, Command& command) {
  struct Options {
    ConfigOptions config;
    std::string out;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("prepare", "Turn a raw log into user-sliced shards");
  options->config.Add(*sub);
  options->config.AddData(*sub);
  sub->add_option("--out", options->out, "New folder for the shards")->required()->type_name("DIR");
  sub->footer(
      "Rows that cannot be used are counted by reason in DIR/report.json; the settings stand in "
      "DIR/config.toml.\n\n"
      "Examples:\n"
      "  grab prepare --config configs/kuairand.toml --data ~/kuairand_pure_14d --out "
      "shards/kuairand\n"
      "  grab prepare --config configs/globo.toml --data ~/globo_clicks --out shards/globo --set "
      "prepare.memory_limit_mb=256");
  sub->callback([&command, options] {
    command = [options]() -> Status {
      GRAB_ASSIGN_OR_RETURN(const Config config, options->config.Load());
      const std::unique_ptr<Progress> progress = MakeConsoleProgress();
      GRAB_ASSIGN_OR_RETURN(const PrepareReport report, Prepare(config, options->out, *progress));
      GRAB_RETURN_IF_ERROR(
          WriteFileDurably(JoinPath(options->out, "config.toml"), DumpConfig(config)));
      Print(report, options->out);
      return absl::OkStatus();
    };
  });
}

}  // namespace grab
