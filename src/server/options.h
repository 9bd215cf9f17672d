// The command line of grab-serve.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "server/server.h"

namespace CLI {
class App;
}

namespace grab {

// What options say before files are read.
struct ServeOptions {
  ServerOptions server;
  std::string tokens_file, certificate_file, key_file, client_ca_file;
  std::vector<std::string> kafka_settings;
  double cache_mb = 1024.0;
  bool no_sync = false;
  bool plain_users = false;

  void Add(CLI::App& app);
  // Reads the files that options name.
  StatusOr<ServerOptions> Resolve() const;
};

}  // namespace grab
