// grab simulate
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "data/simulator.h"

namespace grab {

void AddSimulate(CLI::App& app, Command& command) {
  struct Options {
    ConfigOptions config;
    std::string out;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("simulate", "Write the log of a simulated ad world");
  options->config.Add(*sub);
  sub->add_option("--out", options->out, "New folder for the log")->required()->type_name("DIR");
  sub->footer(
      "The click probability of every row is known, so the best reachable AUC is too: "
      "docs/simulator.md.\n\n"
      "Examples:\n"
      "  grab simulate --config configs/simulator.toml --out data/world\n"
      "  grab simulate --config configs/simulator.toml --out data/big --set simulate.users=100000");
  sub->callback([&command, options] {
    command = [options]() -> Status {
      GRAB_ASSIGN_OR_RETURN(const Config config, options->config.Load());
      const std::unique_ptr<Progress> progress = MakeConsoleProgress();
      return Simulate(config.simulate, options->out, *progress);
    };
  });
}

}  // namespace grab
