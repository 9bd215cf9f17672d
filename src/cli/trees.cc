// grab trees: starts grab-trees, the binary that has XGBoost.
#include "cli/commands.h"
#include "cli/process.h"

namespace grab {

Status ExecTrees(const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindBinary("grab-trees", "GRAB_BUILD_TREES"));
  return Exec(path, arguments);
}

}  // namespace grab
