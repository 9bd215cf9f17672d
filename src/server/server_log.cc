#include "server/server_log.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/unix_time.h"

namespace grab {

void ServerLog::Write(absl::string_view event, nlohmann::json fields) {
  fields["time_ms"] = UnixMs();
  fields["event"] = std::string(event);
  // What a client sent may be no UTF-8.
  const std::string line = fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const std::scoped_lock lock(mutex_);
  sink_(line);
}

std::string ServerLog::UserOf(absl::string_view user_id) const {
  if (plain_users_) return std::string(user_id);
  return absl::StrFormat("%016x", HashBytes(user_id.data(), user_id.size(), salt_));
}

}  // namespace grab
