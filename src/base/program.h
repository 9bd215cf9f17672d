// How every binary of grab starts and ends, for its main alone. Exit codes: 0 done; 2 the command
// line, a config or an input is wrong; 1 anything else.
#pragma once

#include <optional>

#include "base/status.h"

namespace CLI {
class App;
}

namespace grab {

// Parses the command line into what `app` was given to fill. Nothing where the work is to begin;
// else the exit code: 0 after --help, 2 after what is wrong was printed.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    absl::string_view program);

// The exit code of what `status` says; an error is printed, as one line "PROGRAM: error: MESSAGE".
int ExitCode(const Status& status, absl::string_view program);

}  // namespace grab
