// What a server on the open network meets: bodies too long, clients too slow or idle, answers that
// never come, ports in use, certificates that are not right.
#include "http/http_server.h"

#include <gnutls/gnutls.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "support/base_temp_dir.h"
#include "support/http_client.h"

namespace grab {
namespace {

std::unique_ptr<HttpServer> StartEcho(const HttpServerOptions& options) {
  auto server = HttpServer::Start(options, [](HttpRequest request, const HttpDone& done) {
    done({200, "text/plain", std::move(request.body), {}});
  });
  EXPECT_TRUE(server.ok()) << server.status();
  return std::move(server).value();
}

TEST(HttpServerFaultTest, RefusesLongBodies) {
  const auto server = StartEcho({.body_bytes_max = 1000});
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", std::string(1000, 'a')).body.size(),
            1000u);
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", std::string(1001, 'a')).status, 413);
  // Without a length, so that only reading tells.
  HttpClient client(server->port());
  std::string chunked = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "64\r\n" + std::string(100, 'a') + "\r\n";
  ASSERT_TRUE(client.Send(chunked + "0\r\n\r\n"));
  EXPECT_EQ(client.Receive().status, 413);
  // A length that lies about the gigabytes to come costs nothing.
  HttpClient liar(server->port());
  ASSERT_TRUE(liar.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n"));
  EXPECT_EQ(liar.Receive().status, 413);
}

TEST(HttpServerFaultTest, RefusesLongHeadersAndNonsense) {
  const auto server = StartEcho({.idle_timeout_s = 1, .header_bytes_max = 4096});
  const HttpReply reply =
      HttpClient(server->port()).Call("GET", "/", "", "X-Long: " + std::string(8000, 'a') + "\r\n");
  EXPECT_TRUE(reply.status == 431 || reply.status == 413) << reply.status;
  for (const std::string& bytes :
       {std::string("\0\0\0\0\r\n\r\n", 8), std::string("GET\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    HttpClient client(server->port());
    ASSERT_TRUE(client.Send(bytes));
    const int status = client.Receive().status;
    EXPECT_TRUE(status == 0 || status >= 400) << status << " to " << bytes;
  }
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", "still here").body, "still here");
}

TEST(HttpServerFaultTest, CutsOffSlowClients) {
  const auto server = StartEcho({.idle_timeout_s = 1});
  HttpClient silent(server->port());
  HttpClient slow(server->port());  // never idle for long, and never done
  ASSERT_TRUE(slow.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n"));
  const Stopwatch watch;
  bool cut = false;
  while (!cut && watch.Seconds() < 10) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    cut = !slow.Send("a");
  }
  EXPECT_TRUE(cut);
  EXPECT_EQ(silent.Receive().status, 0);
  EXPECT_LT(watch.Seconds(), 10);
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", "x").body, "x");
}

TEST(HttpServerFaultTest, HoldsIdleConnections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const size_t count = std::min<size_t>(2000, (limit.rlim_cur - 200) / 2);
  ASSERT_GE(count, 300u) << "open files are limited to " << limit.rlim_cur;
  const auto server = StartEcho({.connections_max = static_cast<uint32_t>(count) + 100});
  std::vector<std::unique_ptr<HttpClient>> idle;
  for (size_t i = 0; i < count; ++i) {
    idle.push_back(std::make_unique<HttpClient>(server->port()));
    ASSERT_TRUE(idle.back()->connected()) << i;
  }
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", "x").body, "x");
  EXPECT_GE(server->connections(), count);
  EXPECT_EQ(idle.back()->Call("POST", "/", "y").body, "y");
}

// Past the limit clients wait; they are served once others have gone.
TEST(HttpServerFaultTest, BoundsConnections) {
  const auto server = StartEcho({.connections_max = 4});
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server->port()));
    ASSERT_EQ(clients.back()->Call("POST", "/", "x").body, "x");
  }
  HttpClient one_more(server->port(), 1);
  EXPECT_EQ(one_more.Call("POST", "/", "x").status, 0);
  EXPECT_LE(server->connections(), 4u);
  clients.clear();
  EXPECT_EQ(HttpClient(server->port()).Call("POST", "/", "y").body, "y");
}

TEST(HttpServerFaultTest, AnswersWhatItsHandlerForgets) {
  auto server = HttpServer::Start({}, [](const HttpRequest&, const HttpDone&) {});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(HttpClient((*server)->port()).Call("GET", "/").status, 500);
}

TEST(HttpServerFaultTest, ClientsThatLeaveAreForgotten) {
  std::vector<HttpDone> waiting;
  std::mutex mutex;
  auto server = HttpServer::Start({}, [&](const HttpRequest&, HttpDone done) {
    const std::lock_guard<std::mutex> lock(mutex);
    waiting.push_back(std::move(done));
  });
  ASSERT_TRUE(server.ok()) << server.status();
  for (int i = 0; i < 50; ++i) {
    HttpClient((*server)->port()).Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  const Stopwatch watch;
  for (size_t seen = 0; seen < 50 && watch.Seconds() < 10;) {
    const std::lock_guard<std::mutex> lock(mutex);
    seen = waiting.size();
  }
  ASSERT_EQ(waiting.size(), 50u);
  for (const HttpDone& done : waiting) {
    done({200, "text/plain", "too late", {}});
    done({200, "text/plain", "twice", {}});
  }
  (*server)->Stop();
}

TEST(HttpServerFaultTest, NamesWhatItCannotListenOn) {
  const auto first = StartEcho({});
  const auto nothing = [](const HttpRequest&, const HttpDone&) {};
  const Status taken = HttpServer::Start({.port = first->port()}, nothing).status();
  EXPECT_TRUE(absl::IsUnavailable(taken)) << taken;
  EXPECT_NE(taken.message().find(absl::StrCat(first->port())), absl::string_view::npos) << taken;
  EXPECT_TRUE(
      absl::IsInvalidArgument(HttpServer::Start({.address = "no address"}, nothing).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(HttpServer::Start({.port = 70000}, nothing).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      HttpServer::Start({.certificate_pem = "x", .key_pem = "y"}, nothing).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(HttpServer::Start({.certificate_pem = "x"}, nothing).status()));
}

// Certificates of a test's own authority, made with openssl.
class Certificates {
 public:
  Certificates() {
    Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=ca -keyout ca.key -out ca.pem");
    for (const char* name : {"server", "client"}) {
      Run(
          absl::StrCat("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "
                       "/CN=localhost -keyout ",
                       name, ".key -out ", name, ".csr"));
      Run(absl::StrCat("openssl x509 -req -days 2 -CAcreateserial -CA ca.pem -CAkey ca.key -in ",
                       name, ".csr -out ", name, ".pem"));
    }
    Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=stranger -keyout stranger.key -out stranger.pem");
  }
  std::string Read(const std::string& name) const {
    return ReadFile(dir_.File(name), 1 << 20).value();
  }
  std::string Path(const std::string& name) const { return dir_.File(name); }

 private:
  void Run(const std::string& command) {
    const std::string quiet =
        absl::StrCat("cd '", dir_.path(), "' && ", command, " >openssl.log 2>&1");
    ASSERT_EQ(std::system(quiet.c_str()), 0) << command << "\n" << Read("openssl.log");
  }
  TempDir dir_;
};

// Status of one GET over TLS that trusts the test's authority; 0 when the handshake or the
// connection fails. `name`: of the client's certificate, empty for none.
int GetOverTls(const Certificates& certificates, int port, const std::string& name) {
  gnutls_certificate_credentials_t credentials;
  gnutls_certificate_allocate_credentials(&credentials);
  gnutls_certificate_set_x509_trust_file(credentials, certificates.Path("ca.pem").c_str(),
                                         GNUTLS_X509_FMT_PEM);
  if (!name.empty()) {
    gnutls_certificate_set_x509_key_file(credentials, certificates.Path(name + ".pem").c_str(),
                                         certificates.Path(name + ".key").c_str(),
                                         GNUTLS_X509_FMT_PEM);
    // Sent even where the server did not name its issuer.
    gnutls_certificate_set_flags(credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
  }
  gnutls_session_t session;
  gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT);
  gnutls_set_default_priority(session);
  gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
  gnutls_session_set_verify_cert(session, nullptr, 0);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  gnutls_transport_set_int(session, fd);
  int status = 0;
  if (gnutls_handshake(session) == GNUTLS_E_SUCCESS) {
    const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    gnutls_record_send(session, request.data(), request.size());
    char reply[4096];
    const ssize_t n = gnutls_record_recv(session, reply, sizeof(reply));
    if (n > 12) (void)absl::SimpleAtoi(std::string(reply + 9, 3), &status);
  }
  gnutls_deinit(session);
  gnutls_certificate_free_credentials(credentials);
  close(fd);
  return status;
}

TEST(HttpServerFaultTest, SpeaksTlsAndKnowsItsClients) {
  const Certificates certificates;
  HttpServerOptions options{.certificate_pem = certificates.Read("server.pem"),
                            .key_pem = certificates.Read("server.key")};
  {
    const auto server = StartEcho(options);
    EXPECT_EQ(GetOverTls(certificates, server->port(), ""), 200);
    EXPECT_EQ(HttpClient(server->port(), 5).Call("GET", "/").status, 0);  // in the clear
  }
  options.client_ca_pem = certificates.Read("ca.pem");
  const auto server = StartEcho(options);
  EXPECT_EQ(GetOverTls(certificates, server->port(), "client"), 200);
  EXPECT_NE(GetOverTls(certificates, server->port(), ""), 200);
  EXPECT_NE(GetOverTls(certificates, server->port(), "stranger"), 200);
  // A key that belongs to another certificate.
  options.key_pem = certificates.Read("client.key");
  EXPECT_FALSE(HttpServer::Start(options, [](const HttpRequest&, const HttpDone&) {}).ok());
}

}  // namespace
}  // namespace grab
