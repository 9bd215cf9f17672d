// grab: the command line.
#include <CLI/CLI.hpp>

#include "absl/algorithm/container.h"
#include "base/program.h"
#include "cli/binaries.h"
#include "cli/commands.h"
#include "config/nearest.h"
#include "kernels/simd_target.h"

namespace grab {
namespace {

constexpr char kProgram[] = "grab";

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
    if (name == other.command) return ExitCode(ExecOther(other, {argv + 2, argv + argc}), kProgram);
  }
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  if (argc >= 2 && argv[1][0] != '-' && !absl::c_linear_search(names, argv[1])) {
    return ExitCode(absl::InvalidArgumentError(absl::StrCat("there is no command '", argv[1], "'",
                                                            DidYouMean(Nearest(argv[1], names)))),
                    kProgram);
  }
  if (const auto code = ParseCommandLine(app, argc, argv, kProgram)) return *code;
  if (const Status status = ForceSimdTargetOfEnvironment(); !status.ok())
    return ExitCode(status, kProgram);
  return ExitCode(command(), kProgram);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
