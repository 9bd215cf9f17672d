// grab-bench: measures the machine, grab on it, and what others do, in one run. `grab bench` runs
// it. It links libtorch for the peers.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/algorithm/container.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/program.h"
#include "bench/cases.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "kernels/simd_target.h"

namespace grab::bench {
namespace {

struct Options {
  std::string out = "bench.json";
  std::vector<std::string> only;
  bool quick = false;
  bool list = false;
};

bool Chosen(const Options& options, const Case& candidate) {
  return options.only.empty() || absl::c_any_of(options.only, [&](const std::string& only) {
           return Picks(only, candidate);
         });
}

Status List() {
  for (const Case& one : Cases()) {
    std::printf("%s\n", one.name.c_str());
    for (const std::string& figure : one.figures) {
      std::printf("  %s%s\n", figure.c_str(), figure.ends_with('_') ? "..." : "");
    }
  }
  return absl::OkStatus();
}

Status Run(const Options& options) {
  if (options.list) return List();
  for (const std::string& only : options.only) {
    if (absl::c_any_of(Cases(), [&](const Case& one) { return Picks(only, one); })) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--only ", only, ": no case or figure starts so; --list names them"));
  }
  GRAB_RETURN_IF_ERROR(ForceSimdTargetOfEnvironment());
  const nlohmann::json machine = DescribeMachine();
  Context context(options.quick ? Sizes::Quick() : Sizes::Full());
  for (const Case& one : Cases()) {
    if (Chosen(options, one)) one.run(context);
  }
  const std::string stem(absl::StripSuffix(options.out, ".json"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out, ToJsonText(machine, context.figures())));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(stem + ".md", ToMarkdown(machine, context.figures())));
  std::printf("%s%s, %s.md\n", ToText(context.figures()).c_str(), options.out.c_str(),
              stem.c_str());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Measures this machine, grab on it, and what others do, in one run.", "grab bench");
  app.footer(
      "Examples:\n"
      "  grab bench                                     everything, into bench.json and bench.md\n"
      "  grab bench --only attention --out attention.json\n"
      "  grab bench --list                              cases and their figures");
  Options options;
  app.add_option("--out", options.out, "The figures as JSON; a table in Markdown beside it")
      ->capture_default_str();
  app.add_option("--only", options.only, "Only cases that, or whose figures, start so")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_flag("--quick", options.quick,
               "Toy sizes and two repetitions, to see that it runs: its figures mean nothing");
  app.add_flag("--list", options.list, "Name the cases and their figures");
  if (const auto code = ParseCommandLine(app, argc, argv, "grab")) return *code;
  return ExitCode(Run(options), "grab");
}

}  // namespace
}  // namespace grab::bench

int main(int argc, char** argv) { return grab::bench::Main(argc, argv); }
