#include "bench/run_grab.h"

#include "cli/process.h"

namespace grab::bench {

Status RunGrab(std::vector<std::string> arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string grab, FindBinary("grab", "GRAB_BUILD_TRAIN"));
  arguments.insert(arguments.begin(), grab);
  GRAB_ASSIGN_OR_RETURN(const int code, RunProcess(arguments));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("grab ", arguments[1], " ended with exit code ", code));
}

}  // namespace grab::bench
