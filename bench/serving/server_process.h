// A grab-serve of its own process: started, asked for its ports, killed.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/connection.h"

namespace grab::bench {

class ServerProcess {
 public:
  // Runs `binary` with `arguments` on free ports of this machine and waits until it serves. Its log
  // goes to `log_file`, which is replaced. Internal quotes the log's end if the server ends before.
  static StatusOr<std::unique_ptr<ServerProcess>> Start(const std::string& binary,
                                                        std::vector<std::string> arguments,
                                                        const std::string& log_file);
  ~ServerProcess();  // kill -9 if it still runs
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::string grpc_target() const { return target_; }
  StatusOr<std::unique_ptr<Connection>> Connect() const;
  std::string admin_grpc_target() const { return admin_target_; }
  int admin_http_port() const { return admin_http_port_; }
  double ready_s() const { return ready_s_; }  // from its start until it served

  void Kill();               // kill -9, and waits
  Status Stop();             // SIGTERM; an exit code but 0 is an error
  int64_t RssBytes() const;  // 0 once it is gone

 private:
  ServerProcess(pid_t pid, std::string log_file) : pid_(pid), log_file_(std::move(log_file)) {}
  Status WaitUntilServing();

  pid_t pid_;
  std::string log_file_, target_, admin_target_;
  int admin_http_port_ = 0;
  double ready_s_ = 0.0;
};

}  // namespace grab::bench
