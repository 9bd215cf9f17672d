// The calls over gRPC, with health and reflection.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "server/access.h"
#include "server/service.h"

namespace grab {

// Which services a port answers.
enum class Port : uint8_t { kServing, kAdmin };

struct TlsOptions {
  // PEM texts; empty: in the clear. With `client_ca`, clients must present a certificate it signed.
  std::string certificate, key, client_ca;
};

struct GrpcServerOptions {
  std::string address = "127.0.0.1";
  int port = 0;  // 0: any free one
  TlsOptions tls;
  int message_bytes_max = 4 << 20;
  int streams_max = 256;  // calls under way of one connection
  int threads_max = 64;
  size_t memory_bytes_max = size_t{256} << 20;  // of buffers, over all connections
};

class GrpcServer {
 public:
  // Unavailable: it cannot listen there. `service` and `access` must outlive it.
  static StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options, Port which,
                                                     Service& service, const Access& access);
  // Stops.
  virtual ~GrpcServer() = default;

  virtual int port() const = 0;
  // What its health says.
  virtual void SetServing(bool serving) = 0;
  // No new calls; those under way have `grace_s` to end.
  virtual void Stop(double grace_s) = 0;
};

}  // namespace grab
