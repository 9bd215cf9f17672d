// A connection to a running server.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "proto/grab.grpc.pb.h"

namespace grab {

struct ConnectOptions {
  std::string target = "127.0.0.1:7080";  // HOST:PORT of its gRPC
  std::string token;                      // empty: none
  std::string ca_pem;                     // of its certificate; empty: in the clear
  double connect_s = 10.0;                // waited for it to answer
};

class Connection {
 public:
  // Unavailable: nobody answers there.
  static StatusOr<std::unique_ptr<Connection>> Open(const ConnectOptions& options);

  // Of any thread; they return when the server has answered.
  StatusOr<v1::RankResponse> Rank(const v1::RankRequest& request, double timeout_s) const;
  StatusOr<v1::ObserveResponse> Observe(const v1::ObserveRequest& request, double timeout_s) const;
  // Another stub on a connection of its own.
  std::unique_ptr<v1::Grab::Stub> NewStub() const;

  // What every call carries.
  void Prepare(double timeout_s, grpc::ClientContext& context) const;

 private:
  template <class Request, class Response>
  using UnaryMethod = grpc::Status (v1::Grab::Stub::*)(grpc::ClientContext*, const Request&,
                                                       Response*);

  explicit Connection(ConnectOptions options) : options_(std::move(options)) {}
  std::shared_ptr<grpc::Channel> NewChannel() const;
  template <class Request, class Response>
  StatusOr<Response> Call(UnaryMethod<Request, Response> method, const Request& request,
                          double timeout_s) const;

  const ConnectOptions options_;
  std::unique_ptr<v1::Grab::Stub> grab_;
};

Status FromGrpc(const grpc::Status& status);

}  // namespace grab
