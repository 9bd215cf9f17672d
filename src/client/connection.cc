#include "client/connection.h"

#include <atomic>
#include <chrono>

namespace grab {
namespace {

std::chrono::system_clock::time_point After(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
}

}  // namespace

std::shared_ptr<grpc::Channel> Connection::NewChannel() const {
  // Channels of equal arguments would share one connection.
  static std::atomic<int> number{0};
  grpc::ChannelArguments arguments;
  arguments.SetInt("grab.channel", number++);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (options_.ca_pem.empty()) {
    credentials = grpc::InsecureChannelCredentials();
  } else {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = options_.ca_pem;
    credentials = grpc::SslCredentials(ssl);
  }
  return grpc::CreateCustomChannel(options_.target, credentials, arguments);
}

StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectOptions& options) {
  std::unique_ptr<Connection> connection(new Connection(options));
  const std::shared_ptr<grpc::Channel> channel = connection->NewChannel();
  if (!channel->WaitForConnected(After(options.connect_s))) {
    return absl::UnavailableError(absl::StrCat(options.target, ": nobody answers within ",
                                               options.connect_s, " s; is grab serve running?"));
  }
  connection->grab_ = v1::Grab::NewStub(channel);
  return connection;
}

std::unique_ptr<v1::Grab::Stub> Connection::NewStub() const {
  return v1::Grab::NewStub(NewChannel());
}

template <class Request, class Response>
StatusOr<Response> Connection::Call(UnaryMethod<Request, Response> method, const Request& request,
                                    double timeout_s) const {
  grpc::ClientContext context;
  Prepare(timeout_s, context);
  Response response;
  GRAB_RETURN_IF_ERROR(FromGrpc(((*grab_).*method)(&context, request, &response)));
  return response;
}

StatusOr<v1::RankResponse> Connection::Rank(const v1::RankRequest& request,
                                            double timeout_s) const {
  return Call(&v1::Grab::Stub::Rank, request, timeout_s);
}

StatusOr<v1::ObserveResponse> Connection::Observe(const v1::ObserveRequest& request,
                                                  double timeout_s) const {
  return Call(&v1::Grab::Stub::Observe, request, timeout_s);
}

void Connection::Prepare(double timeout_s, grpc::ClientContext& context) const {
  context.set_deadline(After(timeout_s));
  if (!options_.token.empty()) {
    context.AddMetadata("authorization", "Bearer " + options_.token);
  }
}

Status FromGrpc(const grpc::Status& status) {
  return Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace grab
