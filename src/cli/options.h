// Options that several subcommands share.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace CLI {
class App;
}

namespace grab {

// --config, --set and, where a command reads the log, --data.
struct ConfigOptions {
  std::string path;
  std::vector<std::string> overrides;
  std::string data_dir;

  void Add(CLI::App& app);
  void AddData(CLI::App& app);
  // The effective config.
  StatusOr<Config> Load() const;
};

}  // namespace grab
