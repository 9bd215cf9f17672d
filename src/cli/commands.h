// The subcommands of `grab`, one file each. AddX declares the options of one; when the command line
// names it, `command` is set to what main then runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace CLI {
class App;
}

namespace grab {

using Command = std::function<Status()>;

void AddConfig(CLI::App& app, Command& command);
void AddSimulate(CLI::App& app, Command& command);
void AddPrepare(CLI::App& app, Command& command);
void AddInspect(CLI::App& app, Command& command);
void AddEval(CLI::App& app, Command& command);
void AddExport(CLI::App& app, Command& command);
void AddScore(CLI::App& app, Command& command);
void AddAttention(CLI::App& app, Command& command);
void AddRun(CLI::App& app, Command& command);
void AddCompare(CLI::App& app, Command& command);
void AddAblate(CLI::App& app, Command& command);
void AddScale(CLI::App& app, Command& command);
void AddEvidence(CLI::App& app, Command& command);
void AddReport(CLI::App& app, Command& command);

}  // namespace grab
