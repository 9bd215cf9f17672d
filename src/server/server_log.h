// What the server says while it runs: one JSON object per line, users hashed.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/strings/string_view.h"

namespace grab {

// Takes a line without its end. Called by one thread at a time.
using LogSink = std::function<void(absl::string_view line)>;

class ServerLog {
 public:
  // Users are written as a hash with `salt`, or as they are if `plain_users`.
  ServerLog(LogSink sink, uint64_t salt, bool plain_users = false)
      : sink_(std::move(sink)), salt_(salt), plain_users_(plain_users) {}

  // {"time_ms", "event", ...fields}. `fields` is an object.
  void Write(absl::string_view event, nlohmann::json fields);

  std::string UserOf(absl::string_view user_id) const;

 private:
  LogSink sink_;
  uint64_t salt_;
  bool plain_users_;
  std::mutex mutex_;
};

}  // namespace grab
