// Requests reach the handler as sent and answers the client as given, at once or later, from any
// thread.
#include "http/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/http_client.h"

namespace grab {
namespace {

TEST(HttpServerTest, HandsOverWhatWasSent) {
  HttpRequest seen;
  auto server = HttpServer::Start({}, [&](HttpRequest request, const HttpDone& done) {
    seen = std::move(request);
    done({201, "text/plain", "made", {{"X-Trace", "7"}}});
  });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpClient client((*server)->port());
  const HttpReply reply = client.Call("POST", "/a/b?x=1&y=two%20words", "body", "X-Key: Value\r\n");
  EXPECT_EQ(reply.status, 201);
  EXPECT_EQ(reply.body, "made");
  EXPECT_NE(reply.headers.find("x-trace: 7"), std::string::npos);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a/b");
  EXPECT_EQ(seen.query.at("x"), "1");
  EXPECT_EQ(seen.query.at("y"), "two words");
  EXPECT_EQ(seen.headers.at("x-key"), "Value");
  EXPECT_EQ(seen.body, "body");
  // The connection goes on.
  EXPECT_EQ(client.Call("GET", "/").status, 201);
}

// 8 clients, 200 requests each, answered by other threads after the handler has returned; each
// answer reaches its own client.
TEST(HttpServerTest, AnswersLaterFromOtherThreads) {
  std::mutex mutex;
  std::vector<std::pair<std::string, HttpDone>> waiting;
  std::atomic<bool> stop{false};
  auto server = HttpServer::Start({.threads = 2}, [&](HttpRequest request, HttpDone done) {
    const std::lock_guard<std::mutex> lock(mutex);
    waiting.emplace_back(request.body, std::move(done));
  });
  ASSERT_TRUE(server.ok()) << server.status();
  std::thread answers([&] {
    while (!stop) {
      std::vector<std::pair<std::string, HttpDone>> taken;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        taken.swap(waiting);
      }
      for (auto& [body, done] : taken) done({200, "text/plain", "answer to " + body, {}});
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      HttpClient client((*server)->port());
      for (int i = 0; i < 200; ++i) {
        const std::string body = absl::StrCat(c, "-", i);
        if (client.Call("POST", "/", body).body == "answer to " + body) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  stop = true;
  answers.join();
  EXPECT_EQ(right, 8 * 200);
}

TEST(HttpServerTest, StopWaitsForAnswers) {
  std::atomic<bool> begun{false};
  std::thread answer;
  auto server = HttpServer::Start({}, [&](const HttpRequest&, HttpDone done) {
    begun = true;
    answer = std::thread([done = std::move(done)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      done({200, "text/plain", "late", {}});
    });
  });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpClient client((*server)->port());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n"));
  while (!begun) std::this_thread::yield();
  (*server)->Stop();
  answer.join();
  EXPECT_FALSE(HttpClient((*server)->port()).connected());
}

}  // namespace
}  // namespace grab
