// Child processes.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

// The running binary, links resolved.
StatusOr<std::string> ExecutablePath();

// The path of one of our other binaries: beside the running one, else in PATH. NotFound says how to
// build it; `option` is the CMake option it needs.
StatusOr<std::string> FindBinary(const std::string& name, const std::string& option);

// Becomes the program at `path`; returns only when it cannot be started.
Status Exec(const std::string& path, const std::vector<std::string>& arguments);

// Runs argv[0] (a path, or a name looked up in PATH) with our standard streams and waits. The
// exit code; ended by a signal is an Aborted status.
StatusOr<int> RunProcess(const std::vector<std::string>& argv);

// What a command writes to standard output, at most 64 KiB; its standard error is dropped. A
// command that fails, or writes more, is an error.
StatusOr<std::string> ReadProcess(const std::vector<std::string>& argv);

}  // namespace grab
