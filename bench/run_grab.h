// `grab` as a child process.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace grab::bench {

// Runs `grab ARGUMENTS`, the binary beside ours; an exit code but 0 is an Internal error.
Status RunGrab(std::vector<std::string> arguments);

}  // namespace grab::bench
