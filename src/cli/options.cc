#include "cli/options.h"

#include <CLI/CLI.hpp>

#include "config/config.h"

namespace grab {

void ConfigOptions::Add(CLI::App& app) {
  app.add_option("--config", path, "Config file (TOML; docs/config.md lists the settings)")
      ->required()
      ->type_name("FILE");
  app.add_option("--set", overrides, "Override a setting; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

void ConfigOptions::AddData(CLI::App& app) {
  app.add_option("--data", data_dir, "Folder of the raw log, instead of the config's data_dir")
      ->type_name("DIR");
}

StatusOr<Config> ConfigOptions::Load() const {
  GRAB_ASSIGN_OR_RETURN(Config config, LoadConfig(path, overrides));
  if (!data_dir.empty()) config.data_dir = data_dir;
  return config;
}

}  // namespace grab
