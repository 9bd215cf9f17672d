// grab bench: starts grab-bench, which measures us against libtorch and so links it.
#include "cli/commands.h"
#include "cli/process.h"

namespace grab {

Status ExecBench(const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindBinary("grab-bench", "GRAB_BUILD_BENCH"));
  return Exec(path, arguments);
}

}  // namespace grab
