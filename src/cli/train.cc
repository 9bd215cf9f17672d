// grab train: starts grab-train, the binary that has libtorch.
#include <cstdlib>

#include "absl/strings/match.h"
#include "cli/commands.h"
#include "cli/process.h"

namespace grab {
namespace {

// The first blocks of shards fill hundreds of MB. In small pages their faults cost a short run more
// than a tenth of its time, and only the environment can ask glibc for huge ones.
void AskForHugePages() {
  constexpr char kTunables[] = "GLIBC_TUNABLES", kHugePages[] = "glibc.malloc.hugetlb";
  const char* value = std::getenv(kTunables);
  const std::string before = value == nullptr ? "" : value;
  if (absl::StrContains(before, kHugePages)) return;
  const std::string tunables = absl::StrCat(before, before.empty() ? "" : ":", kHugePages, "=1");
  setenv(kTunables, tunables.c_str(), 1);
}

}  // namespace

StatusOr<std::string> FindTrain() { return FindBinary("grab-train", "GRAB_BUILD_TRAIN"); }

Status ExecTrain(const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindTrain());
  AskForHugePages();
  return Exec(path, arguments);
}

}  // namespace grab
