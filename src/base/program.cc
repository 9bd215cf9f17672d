#include "base/program.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "absl/strings/str_replace.h"

namespace grab {

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    absl::string_view program) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    const std::string message = error.what();
    return ExitCode(absl::InvalidArgumentError(absl::StrCat(message.substr(0, message.find('\n')),
                                                            " (--help shows how it goes)")),
                    program);
  }
  return std::nullopt;
}

int ExitCode(const Status& status, absl::string_view program) {
  if (status.ok()) return 0;
  std::fflush(stdout);
  // SQL errors come with the line and a caret below; an error of ours is one line.
  const std::string line =
      absl::StrCat(program, ": error: ", absl::StrReplaceAll(status.message(), {{"\n", " "}}));
  std::fprintf(stderr, "%s\n", line.c_str());
  const bool usage =
      absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsAlreadyExists(status);
  return usage ? 2 : 1;
}

}  // namespace grab
