#include "server/server.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "base/clock.h"

namespace grab {
namespace {

bool IsLoopback(absl::string_view address) {
  return absl::StartsWith(address, "127.") || address == "::1";
}

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, ServerLog& log) {
  const Stopwatch watch;
  std::unique_ptr<Server> server(new Server(options, log));
  GRAB_RETURN_IF_ERROR(server->CheckOptions());
  if (!options.canary_dir.empty()) {
    GRAB_ASSIGN_OR_RETURN(server->canary_, Canary::Open(options.canary_dir));
  }
  std::vector<std::shared_ptr<const ServedModel>> models;
  for (const std::string& dir : {options.model_dir, options.model_b_dir}) {
    if (dir.empty()) continue;
    GRAB_ASSIGN_OR_RETURN(auto model, ModelWatcher::LoadFirst(dir, server->canary_.get()));
    models.push_back(std::move(model));
  }
  GRAB_RETURN_IF_ERROR(server->OpenState(models[0]->spec().tokens.schema));
  GRAB_RETURN_IF_ERROR(server->StartModels(std::move(models)));
  GRAB_RETURN_IF_ERROR(server->StartKafka());
  server->AddReadings();
  GRAB_RETURN_IF_ERROR(server->Listen());
  server->ready_ = true;
  for (const auto& grpc : server->grpc_) grpc->SetServing(true);
  server->ready_s_ = watch.Seconds();
  return server;
}

Server::~Server() { Stop(); }

Status Server::CheckOptions() {
  if (options_.access.open() && !IsLoopback(options_.address) && !options_.allow_anonymous) {
    return absl::InvalidArgumentError(
        absl::StrCat("address ", options_.address,
                     " is reachable from elsewhere: give it --tokens, or say --allow-anonymous"));
  }
  if (options_.model_b_dir.empty() && options_.service.arm_b_fraction > 0.0) {
    return absl::InvalidArgumentError("arm_b_fraction: there is no model for arm b (--model-b)");
  }
  return absl::OkStatus();
}

Status Server::OpenState(const Schema& schema) {
  GRAB_ASSIGN_OR_RETURN(store_, UserStore::Open(options_.store, schema));
  GRAB_ASSIGN_OR_RETURN(catalogue_, Catalogue::Load(*store_, options_.catalogue_bytes_max));
  RankerOptions ranker = options_.ranker;
  ranker.two_arms = !options_.model_b_dir.empty();
  GRAB_ASSIGN_OR_RETURN(ranker_, Ranker::Create(ranker, *store_));
  metrics_ = std::make_unique<Metrics>(schema.tasks);
  GRAB_ASSIGN_OR_RETURN(
      service_, Service::Create(options_.service, *store_, *catalogue_, *ranker_, *metrics_, log_));
  return absl::OkStatus();
}

Status Server::StartModels(std::vector<std::shared_ptr<const ServedModel>> models) {
  const std::string dirs[] = {options_.model_dir, options_.model_b_dir};
  for (size_t arm = 0; arm < models.size(); ++arm) {
    watchers_.push_back(std::make_unique<ModelWatcher>(
        dirs[arm], arm, *ranker_, canary_.get(),
        [this](size_t of_arm, uint64_t step, const Status& status) {
          service_->SetRefused(
              of_arm, status.ok() ? "" : absl::StrCat("step ", step, ": ", status.message()));
          log_.Write(status.ok() ? "model_swapped" : "model_refused",
                     {{"arm", ArmName(of_arm)},
                      {"step", step},
                      {"reason", std::string(status.message())}});
        }));
    log_.Write("model_loaded", {{"arm", ArmName(arm)},
                                {"step", models[arm]->loaded.step},
                                {"dir", models[arm]->loaded.dir}});
    GRAB_RETURN_IF_ERROR(watchers_[arm]->Start(std::move(models[arm]), options_.poll_s));
  }
  return absl::OkStatus();
}

Status Server::StartKafka() {
  if (options_.kafka.brokers.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(
      kafka_, KafkaSource::Start(
                  options_.kafka, *store_, service_->wire(), *ranker_, log_,
                  [this](const WireEvents& events, absl::Span<const AppendOutcome> outcomes) {
                    service_->CountWritten(events, outcomes);
                  }));
  return absl::OkStatus();
}

Status Server::Listen() {
  GRAB_ASSIGN_OR_RETURN(ports_[0], ListenGrpc(options_.grpc_port, Port::kServing));
  GRAB_ASSIGN_OR_RETURN(ports_[1], ListenHttp(options_.http_port, Port::kServing));
  GRAB_ASSIGN_OR_RETURN(ports_[2], ListenGrpc(options_.admin_grpc_port, Port::kAdmin));
  GRAB_ASSIGN_OR_RETURN(ports_[3], ListenHttp(options_.admin_http_port, Port::kAdmin));
  return absl::OkStatus();
}

StatusOr<int> Server::ListenGrpc(int port, Port which) {
  if (port < 0) return -1;
  GrpcServerOptions options;
  options.address = options_.address;
  options.port = port;
  options.tls = options_.tls;
  options.message_bytes_max = options_.message_bytes_max;
  GRAB_ASSIGN_OR_RETURN(std::unique_ptr<GrpcServer> server,
                        GrpcServer::Start(options, which, *service_, options_.access));
  server->SetServing(false);
  grpc_.push_back(std::move(server));
  return grpc_.back()->port();
}

StatusOr<int> Server::ListenHttp(int port, Port which) {
  if (port < 0) return -1;
  HttpServerOptions options;
  options.address = options_.address;
  options.port = port;
  options.connections_max = options_.connections_max;
  options.idle_timeout_s = options_.idle_timeout_s;
  options.body_bytes_max = static_cast<size_t>(options_.message_bytes_max);
  options.certificate_pem = options_.tls.certificate;
  options.key_pem = options_.tls.key;
  options.client_ca_pem = options_.tls.client_ca;
  routes_.push_back(
      std::make_unique<HttpRoutes>(which, *service_, options_.access, *metrics_, ready_));
  GRAB_ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> server,
                        HttpServer::Start(options, [routes = routes_.back().get()](
                                                       HttpRequest request, const HttpDone& done) {
                          routes->Handle(std::move(request), done);
                        }));
  http_.push_back(std::move(server));
  return http_.back()->port();
}

void Server::AddReadings() {
  const auto of = [this](auto value) {
    return Metrics::Reading{{},
                            [this, value] { return static_cast<double>(value(ranker_->Stats())); }};
  };
  const auto gauge = [&](const char* name, const char* help, auto value) {
    metrics_->AddGauge(name, help, of(value));
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    metrics_->AddCounter(name, help, of(value));
  };
  gauge("grab_cache_bytes", "Bytes of keys and values",
        [](const auto& s) { return s.cache.bytes; });
  gauge("grab_cache_bytes_max", "Their bound", [](const auto& s) { return s.cache.bytes_max; });
  gauge("grab_cache_users", "Users that are cached", [](const auto& s) { return s.cache.users; });
  counter("grab_cache_hits_total", "Look-ups that found the user",
          [](const auto& s) { return s.cache.hits; });
  counter("grab_cache_misses_total", "And that did not",
          [](const auto& s) { return s.cache.misses; });
  counter("grab_cache_evictions_total", "Users that made way",
          [](const auto& s) { return s.cache.evictions; });
  gauge("grab_queue_candidates", "Candidates that wait",
        [](const auto& s) { return s.queued_candidates; });
  gauge("grab_degraded", "1 under pressure", [](const auto& s) { return s.degraded ? 1 : 0; });
  counter("grab_ranked_total", "Requests ranked", [](const auto& s) { return s.ranked; });
  counter("grab_ranked_candidates_total", "Candidates scored",
          [](const auto& s) { return s.candidates; });
  counter("grab_helped_total", "Requests ranked by another worker than the user's own",
          [](const auto& s) { return s.helped; });
  counter("grab_batches_total", "Micro-batches; requests per batch is the batch size",
          [](const auto& s) { return s.batches; });
  counter("grab_refused_total", "Requests refused past capacity",
          [](const auto& s) { return s.refused; });
  counter("grab_expired_total", "Requests whose deadline passed",
          [](const auto& s) { return s.expired; });
  counter("grab_degraded_answers_total", "Answers from a shorter history",
          [](const auto& s) { return s.degraded_answers; });
  counter("grab_prefills_total", "Histories read from their start",
          [](const auto& s) { return s.prefills; });
  counter("grab_extensions_total", "Cached histories extended",
          [](const auto& s) { return s.extensions; });
  AddModelReadings();
  if (kafka_ != nullptr) {
    const auto kafka = [&](const char* name, const char* help, auto value) {
      metrics_->AddCounter(
          name, help, {{}, [this, value] { return static_cast<double>(value(kafka_->Stats())); }});
    };
    kafka("grab_kafka_refused_total", "Messages that are no events or can never be stored",
          [](const auto& s) { return s.refused; });
    kafka("grab_kafka_writes_failed_total", "Writes that are tried again",
          [](const auto& s) { return s.writes_failed; });
  }
  metrics_->AddGauge("grab_catalogue_items", "Items of the catalogue",
                     {{}, [this] { return static_cast<double>(catalogue_->items()); }});
}

void Server::AddModelReadings() {
  for (size_t arm = 0; arm < watchers_.size(); ++arm) {
    const prometheus::Labels labels = {{"arm", std::string(ArmName(arm))}};
    metrics_->AddGauge(
        "grab_model_step", "Step of the model that serves",
        {labels, [this, arm] { return static_cast<double>(ranker_->model(arm)->loaded.step); }});
    metrics_->AddGauge("grab_model_loaded_unix_seconds", "When it was loaded",
                       {labels, [this, arm] { return ranker_->model(arm)->loaded_unix_s; }});
  }
}

void Server::PollModels() {
  for (const auto& watcher : watchers_) watcher->Poll();
}

void Server::Stop() {
  ready_ = false;
  for (const auto& grpc : grpc_) grpc->SetServing(false);
  for (const auto& grpc : grpc_) grpc->Stop(options_.stop_grace_s);
  for (const auto& http : http_) http->Stop();
  kafka_.reset();
  watchers_.clear();
  ranker_.reset();  // answers what is queued
  service_.reset();
  grpc_.clear();
  http_.clear();
  routes_.clear();
  metrics_.reset();
  catalogue_.reset();
  store_.reset();
}

}  // namespace grab
