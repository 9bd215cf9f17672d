// grab: the command line. Exit codes: 0 done; 2 the command line, a config or an input is wrong;
// 1 anything else.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "absl/algorithm/container.h"
#include "absl/strings/str_replace.h"
#include "cli/binaries.h"
#include "cli/commands.h"
#include "config/nearest.h"
#include "kernels/simd_target.h"

namespace grab {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

int Report(const Status& status) {
  if (status.ok()) return 0;
  std::fflush(stdout);
  // SQL errors come with the line and a caret below; an error of ours is one line.
  std::fprintf(stderr, "grab: error: %s\n",
               absl::StrReplaceAll(status.message(), {{"\n", " "}}).c_str());
  const bool usage =
      absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsAlreadyExists(status);
  return usage ? kExitUsage : kExitFailed;
}

int Main(int argc, char** argv) {
  CLI::App app("A generative ranker for ads: impression logs in, ranked candidates out.", "grab");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  grab run --config configs/simulator.toml --out runs/demo     the whole job on simulated "
      "data\n"
      "  grab run --config configs/kuairand.toml --data DIR --out runs/kuairand --seeds 1,2,3\n"
      "  grab COMMAND --help                                          what one command does");
  Command command;
  AddRun(app, command);
  AddCompare(app, command);
  AddAblate(app, command);
  AddScale(app, command);
  AddEvidence(app, command);
  AddReport(app, command);
  AddSimulate(app, command);
  AddPrepare(app, command);
  AddInspect(app, command);
  for (const OtherBinary& other : OtherBinaries()) app.add_subcommand(other.command, other.help);
  AddExport(app, command);
  AddScore(app, command);
  AddEval(app, command);
  AddAttention(app, command);
  AddConfig(app, command);
  const std::string name = argc >= 2 ? argv[1] : "";
  for (const OtherBinary& other : OtherBinaries()) {
    if (name == other.command) return Report(ExecOther(other, {argv + 2, argv + argc}));
  }
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  if (argc >= 2 && argv[1][0] != '-' && !absl::c_linear_search(names, argv[1])) {
    return Report(absl::InvalidArgumentError(
        absl::StrCat("there is no command '", argv[1], "'", DidYouMean(Nearest(argv[1], names)))));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::string message = error.what();
    message = message.substr(0, message.find('\n'));
    std::fprintf(stderr, "grab: error: %s (--help shows how it goes)\n", message.c_str());
    return kExitUsage;
  }
  if (const Status status = ForceSimdTargetOfEnvironment(); !status.ok()) return Report(status);
  return Report(command());
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
