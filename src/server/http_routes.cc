#include "server/http_routes.h"

#include <google/protobuf/util/json_util.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "server/page.h"

namespace grab {
namespace {

constexpr int64_t kTimeoutMsMax = 600'000;

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

HttpResponse ErrorOf(const Status& status) {
  const nlohmann::json body = {{"code", absl::StatusCodeToString(status.code())},
                               {"message", std::string(status.message())}};
  return {HttpStatusOf(status.code()),
          "application/json",
          body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
          {}};
}

std::string HeaderOf(const HttpRequest& request, const std::string& name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

StatusOr<SteadyTime> DeadlineOf(const HttpRequest& request) {
  const std::string text = HeaderOf(request, "x-timeout-ms");
  if (text.empty()) return SteadyTime::max();
  int64_t ms = 0;
  if (!absl::SimpleAtoi(text, &ms) || ms < 1 || ms > kTimeoutMsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("x-timeout-ms: expected 1 to ", kTimeoutMsMax, ", got '", text, "'"));
  }
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
}

Status ParseJson(const HttpRequest& request, google::protobuf::Message& message) {
  if (!absl::StartsWith(HeaderOf(request, "content-type"), "application/json")) {
    return absl::InvalidArgumentError("content-type: expected application/json");
  }
  const auto status = google::protobuf::util::JsonStringToMessage(request.body, &message);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("body: ", status.message().ToString()));
}

HttpResponse JsonOf(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  HttpResponse response;
  const auto status = google::protobuf::util::MessageToJsonString(message, &response.body, options);
  if (!status.ok()) return ErrorOf(absl::InternalError(status.message().ToString()));
  response.body += "\n";
  return response;
}

}  // namespace

template <class Request, class Response>
void HttpRoutes::AddCall(const std::string& path, Right right,
                         void (Service::*method)(const Request&, Response&, CallContext,
                                                 Service::Done)) {
  struct Call {
    Request request;
    Response response;
  };
  posts_[path] = [this, right, method](const HttpRequest& request, const HttpDone& done) {
    if (const Status status = access_.Check(right, HeaderOf(request, "authorization"));
        !status.ok()) {
      return done(ErrorOf(status));
    }
    const StatusOr<SteadyTime> deadline = DeadlineOf(request);
    if (!deadline.ok()) return done(ErrorOf(deadline.status()));
    const auto call = std::make_shared<Call>();
    if (const Status status = ParseJson(request, call->request); !status.ok()) {
      return done(ErrorOf(status));
    }
    (service_.*method)(call->request, call->response, {*deadline, nullptr},
                       [call, done](const Status& status) {
                         done(status.ok() ? JsonOf(call->response) : ErrorOf(status));
                       });
  };
}

HttpRoutes::HttpRoutes(Port which, Service& service, const Access& access, const Metrics& metrics,
                       const std::atomic<bool>& ready)
    : service_(service), access_(access) {
  AddCall("/v1/rank", Right::kRank, &Service::Rank);
  AddCall("/v1/observe", Right::kObserve, &Service::Observe);
  gets_["/healthz"] = [&ready](const HttpRequest&, const HttpDone& done) {
    if (ready) return done({200, "text/plain", "ok\n", {}});
    done({503, "text/plain", "not serving\n", {}});
  };
  if (which == Port::kServing) return;
  AddCall("/v1/user", Right::kAdmin, &Service::GetUser);
  AddCall("/v1/delete_user", Right::kAdmin, &Service::DeleteUser);
  AddCall("/v1/put_items", Right::kAdmin, &Service::PutItems);
  AddCall("/v1/remove_items", Right::kAdmin, &Service::RemoveItems);
  AddCall("/v1/status", Right::kAdmin, &Service::GetStatus);
  AddCall("/v1/inspect", Right::kAdmin, &Service::Inspect);
  gets_["/"] = [page = RenderServerPage()](const HttpRequest&, const HttpDone& done) {
    done({200,
          "text/html; charset=utf-8",
          page,
          {{"Content-Security-Policy",
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src "
            "data:; connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri "
            "'none'"},
           {"X-Content-Type-Options", "nosniff"}}});
  };
  gets_["/metrics"] = [&metrics](const HttpRequest&, const HttpDone& done) {
    done({200, "text/plain; version=0.0.4", metrics.Text(), {}});
  };
}

void HttpRoutes::Handle(HttpRequest request, const HttpDone& done) const {
  const bool post = request.method == "POST";
  const auto& routes = post ? posts_ : gets_;
  const auto found = routes.find(request.path);
  if (found != routes.end() && (post || request.method == "GET")) {
    return found->second(std::move(request), done);
  }
  const bool elsewhere = (post ? gets_ : posts_).contains(request.path);
  HttpResponse response = ErrorOf(absl::NotFoundError(
      absl::StrCat("there is no ", request.method, " ", request.path, " here")));
  if (elsewhere) response.status = 405;
  done(std::move(response));
}

}  // namespace grab
