// grab train: starts grab-train, the binary that has libtorch.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/process.h"

namespace grab {
namespace {

constexpr char kTrainBinary[] = "grab-train";

}  // namespace

StatusOr<std::string> FindTrain() {
  GRAB_ASSIGN_OR_RETURN(const std::string self, ExecutablePath());
  std::vector<std::string> folders = {self.substr(0, self.rfind('/'))};
  if (const char* path = std::getenv("PATH")) {
    for (const absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
      folders.emplace_back(folder);
    }
  }
  for (const std::string& folder : folders) {
    const std::string candidate = JoinPath(folder, kTrainBinary);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return absl::NotFoundError(
      absl::StrCat(kTrainBinary, ": neither in ", folders[0],
                   " nor in PATH; build it (CMake target grab-train, with GRAB_BUILD_TRAIN=ON)"));
}

Status ExecTrain(const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindTrain());
  std::vector<char*> argv = {const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  return FileError(path, "run", errno);
}

}  // namespace grab
