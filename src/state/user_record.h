// Keys of the store, and the record of a user (docs/formats/state.md). Keys sort as bytes: numbers
// in them are big-endian, times with the sign bit flipped.
#pragma once

#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "state/user_store.h"

namespace grab {

inline constexpr EventPosition kFirstPosition{std::numeric_limits<int64_t>::min(), 0};
inline constexpr EventPosition kLastPosition{std::numeric_limits<int64_t>::max(),
                                             std::numeric_limits<uint64_t>::max()};

std::string UserKey(uint64_t user_key);
std::string EventKey(uint64_t user_key, const EventPosition& position);
std::string IdKey(uint64_t user_key, uint64_t event_id);
StatusOr<EventPosition> PositionOf(absl::string_view event_key);

std::string EncodeUser(const UserState& state);
StatusOr<UserState> DecodeUser(absl::string_view record);

// Gives an event that arrives its sequence number.
void Arrive(int64_t known_ms, UserState& state);

}  // namespace grab
