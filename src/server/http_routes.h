// The calls as JSON over HTTP: POST /v1/..., and GET /healthz, /metrics.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>

#include "http/http_server.h"
#include "server/access.h"
#include "server/grpc_server.h"
#include "server/service.h"

namespace grab {

// Errors are {"code", "message"} with the HTTP status nearest to the code. The header
// x-timeout-ms is the deadline. POST needs the content type application/json, which no form of
// another site can send.
class HttpRoutes {
 public:
  // The admin port answers the serving calls, too: its page makes them. All references must outlive
  // it.
  HttpRoutes(Port which, Service& service, const Access& access, const Metrics& metrics,
             const std::atomic<bool>& ready);

  void Handle(HttpRequest request, const HttpDone& done) const;

 private:
  using Route = std::function<void(HttpRequest, const HttpDone&)>;

  template <class Request, class Response>
  void AddCall(const std::string& path, Right right,
               void (Service::*method)(const Request&, Response&, CallContext, Service::Done));

  Service& service_;
  const Access& access_;
  std::map<std::string, Route> posts_, gets_;  // by path
};

}  // namespace grab
