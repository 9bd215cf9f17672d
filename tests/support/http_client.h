// A blocking HTTP client on a bare socket, so that tests can also send what no client would.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace grab {

struct HttpReply {
  int status = 0;  // 0: the connection was closed without an answer
  std::string headers;
  std::string body;
};

class HttpClient {
 public:
  explicit HttpClient(int port, int timeout_s = 20) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const timeval timeout{timeout_s, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~HttpClient() { close(fd_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }

  bool Send(const std::string& bytes) const {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }

  // One answer with a Content-Length.
  HttpReply Receive() {
    HttpReply reply;
    size_t end = std::string::npos;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!Fill()) return reply;
    }
    reply.headers = absl::AsciiStrToLower(buffer_.substr(0, end));
    buffer_.erase(0, end + 4);
    const size_t length_at = reply.headers.find("content-length: ");
    size_t length = 0;
    if (length_at != std::string::npos) {
      const size_t begin = length_at + 16;
      (void)absl::SimpleAtoi(reply.headers.substr(begin, reply.headers.find("\r\n", begin) - begin),
                             &length);
    }
    while (buffer_.size() < length) {
      if (!Fill()) return reply;
    }
    reply.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    (void)absl::SimpleAtoi(reply.headers.substr(9, 3), &reply.status);
    return reply;
  }

  HttpReply Call(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& headers = "") {
    if (!Send(absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: test\r\nContent-Length: ",
                           body.size(), "\r\n", headers, "\r\n", body))) {
      return {};
    }
    return Receive();
  }

 private:
  bool Fill() {
    char bytes[4096];
    const ssize_t n = recv(fd_, bytes, sizeof(bytes), 0);
    if (n <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace grab
