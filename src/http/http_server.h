// HTTP/1.1 in front of a handler, on libmicrohttpd: bounded bodies, bounded connections, idle and
// slow clients cut off, TLS and mutual TLS. Knows nothing of what it carries. What it cannot read
// never reaches the handler: 400, 413 and 431 are answered by itself, in plain text.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace grab {

struct HttpServerOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6, numeric
  int port = 0;                       // 0: any free one
  int threads = 1;                    // event loops
  uint32_t connections_max = 4096;    // more wait until one closes
  uint32_t idle_timeout_s = 30;       // without a byte in or out, and for the whole of a body
  size_t body_bytes_max = 4 << 20;    // a longer one is answered 413 and never held
  size_t header_bytes_max = 16 << 10;
  // PEM texts. With a certificate it speaks TLS alone; with `client_ca_pem` too, a client must
  // present a certificate that this one signed.
  std::string certificate_pem;
  std::string key_pem;
  std::string client_ca_pem;
};

struct HttpRequest {
  std::string method;                          // "GET", "POST", ...
  std::string path;                            // without the query
  std::map<std::string, std::string> headers;  // names in lower case
  std::map<std::string, std::string> query;
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Answers a request: calls `done` once, from any thread, now or later; later calls do nothing.
// Where every copy of it is gone without a call, the answer is 500.
using HttpDone = std::function<void(HttpResponse)>;
using HttpHandler = std::function<void(HttpRequest, HttpDone)>;

class HttpServer {
 public:
  // Listens at once. Unavailable names the address and the system's reason (in use, not allowed);
  // InvalidArgument: an address or PEM that is none.
  static StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                     HttpHandler handler);
  // Stops.
  virtual ~HttpServer() = default;

  virtual int port() const = 0;
  virtual uint64_t connections() const = 0;  // open now
  // No new connections; waits for requests that are being answered, then closes all.
  virtual void Stop() = 0;
};

}  // namespace grab
