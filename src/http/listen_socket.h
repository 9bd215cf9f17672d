// A socket that listens.
#pragma once

#include <string>

#include "base/status.h"

namespace grab {

struct ListenSocket {
  int fd = -1;  // the caller's to close
  int port = 0;
};

// On a numeric IPv4 or IPv6 address; port 0 takes any free one. InvalidArgument: the address is
// none; Unavailable: the system refuses it, with its reason.
StatusOr<ListenSocket> ListenOn(const std::string& address, int port);

}  // namespace grab
