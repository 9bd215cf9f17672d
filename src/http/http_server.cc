#include "http/http_server.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/clock.h"
#include "http/listen_socket.h"

namespace grab {
namespace {

// Bodies longer than this many times what is allowed are not read at all.
constexpr uint64_t kDrainFactor = 8;

// Requests that wait for their handler; Stop waits until there are none.
class InFlight {
 public:
  void Add() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++count_;
  }
  void Remove() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  void WaitForNone() {
    std::unique_lock<std::mutex> lock(mutex_);
    none_.wait(lock, [&] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  int64_t count_ = 0;
};

// The answer to one request, given by any thread. The connection cannot end before: it is either
// inside the handler or suspended.
class Answer {
 public:
  Answer(MHD_Connection* connection, InFlight& in_flight)
      : connection_(connection), in_flight_(in_flight) {}

  void Give(HttpResponse response) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (response_) return;
    response_ = std::move(response);
    if (suspended_) MHD_resume_connection(connection_);
    in_flight_.Remove();
  }

  // The answer, or else the connection is suspended until it is there.
  bool ReadyOrSuspend() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (response_) return true;
    suspended_ = true;
    MHD_suspend_connection(connection_);
    return false;
  }

  // Once it is there.
  const HttpResponse& response() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return *response_;
  }

 private:
  MHD_Connection* const connection_;
  InFlight& in_flight_;
  std::mutex mutex_;
  bool suspended_ = false;
  std::optional<HttpResponse> response_;
};

// What copies of an HttpDone share.
class AnswerOnce {
 public:
  explicit AnswerOnce(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  ~AnswerOnce() { answer_->Give({500, "text/plain", "no answer\n", {}}); }
  AnswerOnce(const AnswerOnce&) = delete;
  AnswerOnce& operator=(const AnswerOnce&) = delete;
  void operator()(HttpResponse response) const { answer_->Give(std::move(response)); }

 private:
  std::shared_ptr<Answer> answer_;
};

// One request of a connection, from its headers to its answer.
struct Exchange {
  HttpRequest request;
  Stopwatch since;
  bool too_long = false;  // the rest of the body is read and forgotten
  std::shared_ptr<Answer> answer;
};

struct Peer {
  bool verified = false;  // by its certificate
};

MHD_Result AddLowerCase(void* map, MHD_ValueKind, const char* key, const char* value) {
  auto& values = *static_cast<std::map<std::string, std::string>*>(map);
  values.emplace(absl::AsciiStrToLower(key), value == nullptr ? "" : value);
  return MHD_YES;
}

MHD_Result AddAsIs(void* map, MHD_ValueKind, const char* key, const char* value) {
  auto& values = *static_cast<std::map<std::string, std::string>*>(map);
  values.emplace(key, value == nullptr ? "" : value);
  return MHD_YES;
}

MHD_Result Send(MHD_Connection* connection, const HttpResponse& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type.c_str());
  for (const auto& [name, value] : answer.headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  const MHD_Result result =
      MHD_queue_response(connection, static_cast<unsigned>(answer.status), response);
  MHD_destroy_response(response);
  return result;
}

MHD_Result SendText(MHD_Connection* connection, int status, std::string text) {
  return Send(connection, {status, "text/plain", std::move(text), {{"Connection", "close"}}});
}

class MicroHttpServer final : public HttpServer {
 public:
  MicroHttpServer(HttpServerOptions options, HttpHandler handler)
      : options_(std::move(options)), handler_(std::move(handler)) {}
  ~MicroHttpServer() override { Stop(); }

  Status Start();
  int port() const override { return port_; }
  uint64_t connections() const override { return connections_; }
  void Stop() override;

 private:
  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* path,
                              const char* method, const char* version, const char* data,
                              size_t* bytes, void** exchange) {
    (void)version;
    return static_cast<MicroHttpServer*>(self)->Advance(connection, path, method, data, bytes,
                                                        exchange);
  }
  static void OnCompleted(void*, MHD_Connection*, void** exchange, MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*exchange);
    *exchange = nullptr;
  }
  static void OnConnection(void* self, MHD_Connection*, void** peer,
                           MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
      *peer = new Peer;
      ++static_cast<MicroHttpServer*>(self)->connections_;
    } else {
      delete static_cast<Peer*>(*peer);
      --static_cast<MicroHttpServer*>(self)->connections_;
    }
  }
  // The library's last words, for the error of a failed start.
  static void OnLog(void* self, const char* format, va_list arguments) {
    auto* server = static_cast<MicroHttpServer*>(self);
    char text[512];
    std::vsnprintf(text, sizeof(text), format, arguments);
    const std::lock_guard<std::mutex> lock(server->log_mutex_);
    server->log_ = std::string(absl::StripAsciiWhitespace(text));
  }

  MHD_Result Advance(MHD_Connection* connection, const char* path, const char* method,
                     const char* data, size_t* bytes, void** exchange);
  MHD_Result Begin(MHD_Connection* connection, const char* path, const char* method,
                   void** exchange);
  MHD_Result TakeBody(Exchange& exchange, const char* data, size_t* bytes) const;
  MHD_Result SendTooLong(MHD_Connection* connection) const {
    return SendText(connection, 413,
                    absl::StrCat("body: expected at most ", options_.body_bytes_max, " bytes\n"));
  }
  bool Verified(MHD_Connection* connection) const;

  const HttpServerOptions options_;
  const HttpHandler handler_;
  MHD_Daemon* daemon_ = nullptr;
  int port_ = 0;
  std::atomic<uint64_t> connections_{0};
  InFlight in_flight_;
  std::mutex log_mutex_;
  std::string log_;
};

Status MicroHttpServer::Start() {
  GRAB_CHECK(options_.threads >= 1);
  const bool tls = !options_.certificate_pem.empty() || !options_.key_pem.empty();
  if (tls && (options_.certificate_pem.empty() || options_.key_pem.empty())) {
    return absl::InvalidArgumentError("TLS: expected a certificate and its key, got one of them");
  }
  if (!tls && !options_.client_ca_pem.empty()) {
    return absl::InvalidArgumentError("TLS: client_ca needs a certificate of the server");
  }
  GRAB_ASSIGN_OR_RETURN(const ListenSocket socket, ListenOn(options_.address, options_.port));
  std::vector<MHD_OptionItem> more;
  const auto add = [&](MHD_OPTION option, intptr_t value, const void* pointer) {
    more.push_back({option, value, const_cast<void*>(pointer)});
  };
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  if (tls) {
    flags |= MHD_USE_TLS;
    add(MHD_OPTION_HTTPS_MEM_CERT, 0, options_.certificate_pem.c_str());
    add(MHD_OPTION_HTTPS_MEM_KEY, 0, options_.key_pem.c_str());
    if (!options_.client_ca_pem.empty()) {
      add(MHD_OPTION_HTTPS_MEM_TRUST, 0, options_.client_ca_pem.c_str());
    }
  }
  if (options_.threads > 1) add(MHD_OPTION_THREAD_POOL_SIZE, options_.threads, nullptr);
  add(MHD_OPTION_END, 0, nullptr);
  daemon_ = MHD_start_daemon(
      flags, 0, nullptr, nullptr, &OnRequest, this, MHD_OPTION_EXTERNAL_LOGGER, &OnLog, this,
      MHD_OPTION_LISTEN_SOCKET, static_cast<MHD_socket>(socket.fd), MHD_OPTION_CONNECTION_LIMIT,
      static_cast<unsigned>(options_.connections_max), MHD_OPTION_CONNECTION_TIMEOUT,
      static_cast<unsigned>(options_.idle_timeout_s), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      options_.header_bytes_max, MHD_OPTION_NOTIFY_COMPLETED, &OnCompleted, this,
      MHD_OPTION_NOTIFY_CONNECTION, &OnConnection, this, MHD_OPTION_ARRAY, more.data(),
      MHD_OPTION_END);
  if (daemon_ == nullptr) {
    close(socket.fd);
    const std::lock_guard<std::mutex> lock(log_mutex_);
    return absl::InvalidArgumentError(
        absl::StrCat("HTTP on ", options_.address, ":", options_.port, ": cannot start: ", log_));
  }
  port_ = socket.port;
  return absl::OkStatus();
}

void MicroHttpServer::Stop() {
  if (daemon_ == nullptr) return;
  const MHD_socket listener = MHD_quiesce_daemon(daemon_);
  in_flight_.WaitForNone();
  MHD_stop_daemon(daemon_);
  if (listener != MHD_INVALID_SOCKET) close(listener);
  daemon_ = nullptr;
}

// A client without a certificate, or with another's, has passed the handshake: libmicrohttpd asks
// for one but does not insist.
bool MicroHttpServer::Verified(MHD_Connection* connection) const {
  if (options_.client_ca_pem.empty()) return true;
  auto* peer = static_cast<Peer*>(
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
  if (!peer->verified) {
    auto session = static_cast<gnutls_session_t>(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
    unsigned problems = 0;
    peer->verified =
        gnutls_certificate_verify_peers2(session, &problems) == GNUTLS_E_SUCCESS && problems == 0;
  }
  return peer->verified;
}

MHD_Result MicroHttpServer::Begin(MHD_Connection* connection, const char* path, const char* method,
                                  void** exchange) {
  if (!Verified(connection)) {
    return SendText(connection, 403, "a client certificate is needed\n");
  }
  auto next = std::make_unique<Exchange>();
  next->request.method = method;
  next->request.path = path;
  MHD_get_connection_values(connection, MHD_HEADER_KIND, &AddLowerCase, &next->request.headers);
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &AddAsIs, &next->request.query);
  const auto length = next->request.headers.find("content-length");
  uint64_t bytes = 0;
  if (length != next->request.headers.end() && absl::SimpleAtoi(length->second, &bytes)) {
    // A client that is cut off while it sends may never see the answer.
    next->too_long = bytes > options_.body_bytes_max;
    if (bytes / kDrainFactor > options_.body_bytes_max) return SendTooLong(connection);
  }
  *exchange = next.release();
  return MHD_YES;
}

MHD_Result MicroHttpServer::TakeBody(Exchange& exchange, const char* data, size_t* bytes) const {
  if (exchange.since.Seconds() > options_.idle_timeout_s) return MHD_NO;
  std::string& body = exchange.request.body;
  if (body.size() + *bytes > options_.body_bytes_max) exchange.too_long = true;
  if (exchange.too_long) {
    std::string().swap(body);
  } else {
    body.append(data, *bytes);
  }
  *bytes = 0;
  return MHD_YES;
}

MHD_Result MicroHttpServer::Advance(MHD_Connection* connection, const char* path,
                                    const char* method, const char* data, size_t* bytes,
                                    void** exchange) {
  if (*exchange == nullptr) return Begin(connection, path, method, exchange);
  auto& current = *static_cast<Exchange*>(*exchange);
  if (current.answer != nullptr) return Send(connection, current.answer->response());
  if (*bytes > 0) return TakeBody(current, data, bytes);
  if (current.too_long) {
    return SendTooLong(connection);
  }
  current.answer = std::make_shared<Answer>(connection, in_flight_);
  in_flight_.Add();
  handler_(std::move(current.request),
           [once = std::make_shared<AnswerOnce>(current.answer)](HttpResponse response) {
             (*once)(std::move(response));
           });
  return current.answer->ReadyOrSuspend() ? Send(connection, current.answer->response()) : MHD_YES;
}

}  // namespace

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                        HttpHandler handler) {
  auto server = std::make_unique<MicroHttpServer>(options, std::move(handler));
  GRAB_RETURN_IF_ERROR(server->Start());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace grab
