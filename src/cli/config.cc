// grab config check|dump|docs
#include "config/config.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"

namespace grab {
namespace {

Status Check(const ConfigOptions& options) {
  GRAB_ASSIGN_OR_RETURN(const Config config, options.Load());
  std::printf("%s: good; %zu sources, %zu events, %zu fields, %zu actions, %zu tasks\n",
              options.path.c_str(), config.sources.size(), config.events.size(),
              config.fields.size(), config.actions.size(), config.tasks.size());
  return absl::OkStatus();
}

Status Dump(const ConfigOptions& options) {
  GRAB_ASSIGN_OR_RETURN(const Config config, options.Load());
  std::fputs(DumpConfig(config).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddConfig(CLI::App& app, Command& command) {
  CLI::App* group = app.add_subcommand("config", "Check, show and document settings");
  group->require_subcommand(1);
  group->footer(
      "Examples:\n"
      "  grab config check --config configs/simulator.toml\n"
      "  grab config dump --config configs/simulator.toml --set grab.train.seed=3\n"
      "  grab config docs > docs/config.md");
  const struct {
    const char* name;
    const char* help;
    Status (*body)(const ConfigOptions&);
  } actions[] = {{"check", "Look for errors in a config", Check},
                 {"dump", "Print the effective config, defaults included", Dump}};
  for (const auto& action : actions) {
    const auto options = std::make_shared<ConfigOptions>();
    CLI::App* sub = group->add_subcommand(action.name, action.help);
    options->Add(*sub);
    options->AddData(*sub);
    sub->callback([&command, options, body = action.body] {
      command = [options, body] { return body(*options); };
    });
  }
  group->add_subcommand("docs", "Print all settings as Markdown")->callback([&command] {
    command = [] {
      std::fputs(ConfigDocs().c_str(), stdout);
      return absl::OkStatus();
    };
  });
}

}  // namespace grab
