// A server in the test's process, with random models in a folder of releases.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "checkpoint/model_files.h"
#include "client/connection.h"
#include "server/server.h"
#include "support/base_temp_dir.h"
#include "support/http_client.h"
#include "support/random_model.h"

namespace grab::testing {

class RunningServer {
 public:
  // Releases the model of seed 1 as step 1. Start comes later, so that options can be set.
  RunningServer() {
    Release(1, 1);
    options_.model_dir = models_dir();
    options_.store.dir = dir_.File("state");
    options_.poll_s = 3600.0;  // only when a test says
    options_.ranker.queue_wait_max_s = 60.0;
    options_.ranker.cache_bytes = 64 << 20;
    options_.grpc_port = options_.http_port = 0;
    options_.admin_grpc_port = options_.admin_http_port = 0;
  }

  ServerOptions& options() { return options_; }
  std::string models_dir() const { return dir_.File("models"); }
  const TempDir& dir() const { return dir_; }

  void Release(uint64_t seed, uint64_t step) {
    const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, seed);
    const auto path = ExportModel(ViewOf(model), step, Precision::kF32, models_dir());
    ASSERT_TRUE(path.ok()) << path.status();
  }

  Status Start() {
    auto server = Server::Start(options_, log_);
    if (server.ok()) server_ = *std::move(server);
    return server.status();
  }
  void Stop() { server_.reset(); }
  Server& server() { return *server_; }

  std::unique_ptr<Connection> Connect(const std::string& token = "") const {
    ConnectOptions connect;
    connect.target = absl::StrCat("127.0.0.1:", server_->grpc_port());
    connect.token = token;
    auto connection = Connection::Open(connect);
    EXPECT_TRUE(connection.ok()) << connection.status();
    return *std::move(connection);
  }

  // A call as JSON.
  HttpReply Post(int port, const std::string& path, const std::string& json,
                 const std::string& headers = "") const {
    return HttpClient(port).Call("POST", path, json,
                                 "Content-Type: application/json\r\n" + headers);
  }

  std::vector<std::string> log() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

 private:
  TempDir dir_;
  ServerOptions options_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  ServerLog log_{[this](absl::string_view line) {
                   const std::scoped_lock lock(mutex_);
                   lines_.emplace_back(line);
                 },
                 7};
  std::unique_ptr<Server> server_;
};

}  // namespace grab::testing
