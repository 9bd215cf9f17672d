// Subcommands that are binaries of their own, with options of their own: what links libtorch,
// XGBoost or gRPC.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"

namespace grab {

struct OtherBinary {
  const char* command;  // of `grab`
  const char* help;
  const char* binary;
  const char* option;      // of CMake, that builds it
  bool is_one_of_several;  // the binary has subcommands, and this is one
};

absl::Span<const OtherBinary> OtherBinaries();

// Becomes the binary; returns only when it cannot be started.
Status ExecOther(const OtherBinary& other, const std::vector<std::string>& arguments);

// The path of grab-train: beside this binary, else in PATH; NotFound says what to do.
StatusOr<std::string> FindTrain();

}  // namespace grab
