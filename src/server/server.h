// The whole server: state, models, ranker, transports, put together and taken apart in order.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/http_server.h"
#include "ranking/ranker.h"
#include "server/access.h"
#include "server/canary.h"
#include "server/grpc_server.h"
#include "server/http_routes.h"
#include "server/kafka_source.h"
#include "server/metrics.h"
#include "server/model_watcher.h"
#include "server/server_log.h"
#include "server/service.h"
#include "state/catalogue.h"
#include "state/user_store.h"

namespace grab {

struct ServerOptions {
  std::string model_dir;    // of arm a: a folder of releases, or one release
  std::string model_b_dir;  // of arm b; empty: there is none
  double poll_s = 5.0;      // between looks for newer releases
  std::string canary_dir;   // server/canary.h; empty: none

  UserStoreOptions store;
  size_t catalogue_bytes_max = size_t{1} << 30;
  RankerOptions ranker;
  ServiceOptions service;
  KafkaOptions kafka;  // without brokers there is none

  // A port below 0 is left out. Others share the address; 0 takes any free one.
  std::string address = "127.0.0.1";
  int grpc_port = 7080, http_port = 7081;
  int admin_grpc_port = 7082, admin_http_port = 7083;
  TlsOptions tls;
  Access access;                 // open: no token is needed
  bool allow_anonymous = false;  // without tokens on an address beyond this machine
  int message_bytes_max = 4 << 20;
  uint32_t connections_max = 4096;
  uint32_t idle_timeout_s = 30;
  double stop_grace_s = 5.0;
};

class Server {
 public:
  // Returns once it serves. What cannot be (a model, a port, a folder in use) is told before
  // anything listens, but for ports.
  static StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, ServerLog& log);
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // In the order of ServerOptions; below 0: left out.
  int grpc_port() const { return ports_[0]; }
  int http_port() const { return ports_[1]; }
  int admin_grpc_port() const { return ports_[2]; }
  int admin_http_port() const { return ports_[3]; }
  double ready_s() const { return ready_s_; }  // that the start took

  // Looks for newer releases now.
  void PollModels();
  // Answers what is under way, then closes everything.
  void Stop();

 private:
  Server(const ServerOptions& options, ServerLog& log) : options_(options), log_(log) {}
  Status CheckOptions();
  Status OpenState(const Schema& schema);
  Status StartModels(std::vector<std::shared_ptr<const ServedModel>> models);
  Status StartKafka();
  Status Listen();
  StatusOr<int> ListenGrpc(int port, Port which);
  StatusOr<int> ListenHttp(int port, Port which);
  void AddReadings();
  void AddModelReadings();

  const ServerOptions options_;
  ServerLog& log_;
  std::atomic<bool> ready_{false};
  int ports_[4] = {-1, -1, -1, -1};
  double ready_s_ = 0.0;
  // In the order in which they are made; Stop goes backwards.
  std::unique_ptr<Canary> canary_;
  std::unique_ptr<UserStore> store_;
  std::unique_ptr<Catalogue> catalogue_;
  std::unique_ptr<Ranker> ranker_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<Service> service_;
  std::vector<std::unique_ptr<ModelWatcher>> watchers_;
  std::unique_ptr<KafkaSource> kafka_;
  std::vector<std::unique_ptr<HttpRoutes>> routes_;
  std::vector<std::unique_ptr<GrpcServer>> grpc_;
  std::vector<std::unique_ptr<HttpServer>> http_;
};

}  // namespace grab
