#include "server/grpc_server.h"

#include <google/protobuf/arena.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <mutex>

#include "absl/strings/match.h"
#include "proto/grab.grpc.pb.h"

namespace grab {
namespace {

// Idle connections are asked for a sign of life, and closed without one.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kIdleMs = 10 * 60'000;
constexpr size_t kArenaBlockBytes = 4 << 10;
constexpr size_t kArenaBlockBytesMax = 64 << 10;

template <class Request, class Response>
using Method = void (Service::*)(const Request&, Response&, CallContext, Service::Done);

SteadyTime DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return SteadyTime::max();
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             deadline - std::chrono::system_clock::now());
}

grpc::Status ToGrpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

absl::string_view AuthorizationOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  if (found == context.client_metadata().end()) return {};
  return {found->second.data(), found->second.size()};
}

// A request and its answer in one arena: hundreds of candidates are a few allocations.
template <class Request, class Response>
class ArenaAllocator final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() : arena_(Options()) {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(google::protobuf::Arena::CreateMessage<Response>(&arena_));
    }
    void Release() override { delete this; }

   private:
    static google::protobuf::ArenaOptions Options() {
      google::protobuf::ArenaOptions options;
      options.start_block_size = kArenaBlockBytes;
      options.max_block_size = kArenaBlockBytesMax;
      return options;
    }
    google::protobuf::Arena arena_;
  };
};

struct Calls {
  Service& service;
  const Access& access;

  template <class Request, class Response>
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, const Request* request,
                                Response* response, Right right,
                                Method<Request, Response> method) const {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    const Status status = access.Check(right, AuthorizationOf(*context));
    if (!status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    (service.*method)(*request, *response,
                      {DeadlineOf(*context), [context] { return context->IsCancelled(); }},
                      [reactor](const Status& done) { reactor->Finish(ToGrpc(done)); });
    return reactor;
  }
};

class ServingCalls final : public v1::Grab::CallbackService {
 public:
  explicit ServingCalls(const Calls& calls) : calls_(calls) {
    SetMessageAllocatorFor_Rank(&rank_messages_);
    SetMessageAllocatorFor_Observe(&observe_messages_);
  }
  grpc::ServerUnaryReactor* Rank(grpc::CallbackServerContext* context,
                                 const v1::RankRequest* request,
                                 v1::RankResponse* response) override {
    return calls_.Run(context, request, response, Right::kRank, &grab::Service::Rank);
  }
  grpc::ServerUnaryReactor* Observe(grpc::CallbackServerContext* context,
                                    const v1::ObserveRequest* request,
                                    v1::ObserveResponse* response) override {
    return calls_.Run(context, request, response, Right::kObserve, &grab::Service::Observe);
  }

 private:
  const Calls calls_;
  ArenaAllocator<v1::RankRequest, v1::RankResponse> rank_messages_;
  ArenaAllocator<v1::ObserveRequest, v1::ObserveResponse> observe_messages_;
};

class AdminCalls final : public v1::Admin::CallbackService {
 public:
  explicit AdminCalls(const Calls& calls) : calls_(calls) {}
  grpc::ServerUnaryReactor* GetUser(grpc::CallbackServerContext* context,
                                    const v1::GetUserRequest* request,
                                    v1::GetUserResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::GetUser);
  }
  grpc::ServerUnaryReactor* DeleteUser(grpc::CallbackServerContext* context,
                                       const v1::DeleteUserRequest* request,
                                       v1::DeleteUserResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::DeleteUser);
  }
  grpc::ServerUnaryReactor* PutItems(grpc::CallbackServerContext* context,
                                     const v1::PutItemsRequest* request,
                                     v1::PutItemsResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::PutItems);
  }
  grpc::ServerUnaryReactor* RemoveItems(grpc::CallbackServerContext* context,
                                        const v1::RemoveItemsRequest* request,
                                        v1::RemoveItemsResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::RemoveItems);
  }
  grpc::ServerUnaryReactor* Inspect(grpc::CallbackServerContext* context,
                                    const v1::InspectRequest* request,
                                    v1::InspectResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::Inspect);
  }
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override {
    return calls_.Run(context, request, response, Right::kAdmin, &grab::Service::GetStatus);
  }

 private:
  const Calls calls_;
};

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const TlsOptions& tls) {
  if (tls.certificate.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      tls.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                            : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls.client_ca;
  options.pem_key_cert_pairs.push_back({tls.key, tls.certificate});
  return grpc::SslServerCredentials(options);
}

class GrpcServerOf final : public GrpcServer {
 public:
  GrpcServerOf(Port which, Service& service, const Access& access)
      : which_(which), serving_({service, access}), admin_({service, access}) {}
  ~GrpcServerOf() override { Stop(0.0); }

  grab::Status Listen(const GrpcServerOptions& options);
  int port() const override { return port_; }
  void SetServing(bool serving) override {
    server_->GetHealthCheckService()->SetServingStatus(serving);
  }
  void Stop(double grace_s) override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() +
                      std::chrono::milliseconds(static_cast<int64_t>(grace_s * 1000.0)));
    server_->Wait();
    server_.reset();
  }

 private:
  const Port which_;
  ServingCalls serving_;
  AdminCalls admin_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

grab::Status GrpcServerOf::Listen(const GrpcServerOptions& options) {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  grpc::ServerBuilder builder;
  const std::string host = absl::StrContains(options.address, ':')
                               ? absl::StrCat("[", options.address, "]")
                               : options.address;
  builder.AddListeningPort(absl::StrCat(host, ":", options.port), CredentialsOf(options.tls),
                           &port_);
  builder.SetMaxReceiveMessageSize(options.message_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_max);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  grpc::ResourceQuota quota("grab");
  quota.Resize(options.memory_bytes_max);
  quota.SetMaxThreads(options.threads_max);
  builder.SetResourceQuota(quota);
  if (which_ == Port::kServing) {
    builder.RegisterService(&serving_);
  } else {
    builder.RegisterService(&admin_);
  }
  server_ = builder.BuildAndStart();
  if (server_ != nullptr && port_ != 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("gRPC on ", host, ":", options.port,
                   ": cannot listen (is the port in use, is the address this machine's, are "
                   "certificate and key a pair?)"));
}

}  // namespace

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                        Port which, Service& service,
                                                        const Access& access) {
  auto server = std::make_unique<GrpcServerOf>(which, service, access);
  GRAB_RETURN_IF_ERROR(server->Listen(options));
  return std::unique_ptr<GrpcServer>(std::move(server));
}

}  // namespace grab
