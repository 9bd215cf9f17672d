// grab train: starts grab-train, the binary that has libtorch.
#include "cli/commands.h"
#include "cli/process.h"

namespace grab {

StatusOr<std::string> FindTrain() { return FindBinary("grab-train", "GRAB_BUILD_TRAIN"); }

Status ExecTrain(const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindTrain());
  return Exec(path, arguments);
}

}  // namespace grab
