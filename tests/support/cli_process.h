// Runs a command line as a user would and keeps what it said.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "support/base_temp_dir.h"

namespace grab {

struct CommandResult {
  int exit_code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

inline CommandResult RunCommand(const std::vector<std::string>& argv) {
  const TempDir dir;
  std::string line;
  for (const std::string& argument : argv) {
    absl::StrAppend(&line, "'", absl::StrReplaceAll(argument, {{"'", "'\\''"}}), "' ");
  }
  absl::StrAppend(&line, ">", dir.File("out"), " 2>", dir.File("err"), " </dev/null");
  const int state = std::system(line.c_str());
  constexpr uint64_t kBytesMax = 64 << 20;
  CommandResult result;
  if (WIFEXITED(state)) result.exit_code = WEXITSTATUS(state);
  result.out = ReadFile(dir.File("out"), kBytesMax).value();
  result.err = ReadFile(dir.File("err"), kBytesMax).value();
  return result;
}

// `grab ARGUMENTS`, the binary of this build.
#ifdef GRAB_BINARY
inline CommandResult Grab(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), GRAB_BINARY);
  return RunCommand(arguments);
}
#endif

}  // namespace grab
