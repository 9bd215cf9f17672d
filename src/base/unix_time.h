#pragma once

#include <chrono>
#include <cstdint>

namespace grab {

// Milliseconds since 1970 of the system's clock.
inline int64_t UnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace grab
