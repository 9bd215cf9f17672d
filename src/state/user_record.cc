#include "state/user_record.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace grab {
namespace {

constexpr uint64_t kSignBit = uint64_t{1} << 63;
constexpr size_t kWord = sizeof(uint64_t);

void PutBigEndian(uint64_t value, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

uint64_t TakeBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kWord; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

constexpr uint64_t kVersion = 1;
// Version, generation, sequence, late_sequence, events, newest_known_ms, trimmed or not,
// trimmed_ms.
constexpr size_t kUserWords = 8;

}  // namespace

std::string UserKey(uint64_t user_key) {
  std::string key;
  PutBigEndian(user_key, key);
  return key;
}

std::string EventKey(uint64_t user_key, const EventPosition& position) {
  std::string key;
  key.reserve(3 * kWord);
  PutBigEndian(user_key, key);
  PutBigEndian(static_cast<uint64_t>(position.known_ms) ^ kSignBit, key);
  PutBigEndian(position.sequence, key);
  return key;
}

std::string IdKey(uint64_t user_key, uint64_t event_id) {
  std::string key;
  PutBigEndian(user_key, key);
  PutBigEndian(event_id, key);
  return key;
}

StatusOr<EventPosition> PositionOf(absl::string_view event_key) {
  if (event_key.size() != 3 * kWord) {
    return absl::DataLossError(
        absl::StrCat("state: key of an event: expected 24 bytes, got ", event_key.size()));
  }
  return EventPosition{static_cast<int64_t>(TakeBigEndian(event_key.substr(kWord)) ^ kSignBit),
                       TakeBigEndian(event_key.substr(2 * kWord))};
}

std::string EncodeUser(const UserState& state) {
  const std::array<uint64_t, kUserWords> words = {
      kVersion,
      state.generation,
      state.sequence,
      state.late_sequence,
      state.events,
      static_cast<uint64_t>(state.newest_known_ms),
      state.trimmed_known_ms.has_value() ? uint64_t{1} : uint64_t{0},
      static_cast<uint64_t>(state.trimmed_known_ms.value_or(0))};
  std::string record(reinterpret_cast<const char*>(words.data()), sizeof words);
  record += state.user_id;
  return record;
}

StatusOr<UserState> DecodeUser(absl::string_view record) {
  std::array<uint64_t, kUserWords> words;
  if (record.size() <= sizeof words || record.size() > sizeof words + kUserIdBytesMax) {
    return absl::DataLossError(absl::StrCat("state: record of a user: expected ", sizeof words + 1,
                                            " to ", sizeof words + kUserIdBytesMax, " bytes, got ",
                                            record.size()));
  }
  std::memcpy(words.data(), record.data(), sizeof words);
  if (words[0] != kVersion || words[6] > 1 || words[3] > words[2] || words[4] > words[2]) {
    return absl::DataLossError("state: record of a user: its numbers contradict each other");
  }
  UserState state;
  state.generation = words[1];
  state.sequence = words[2];
  state.late_sequence = words[3];
  state.events = words[4];
  state.newest_known_ms = static_cast<int64_t>(words[5]);
  if (words[6] == 1) state.trimmed_known_ms = static_cast<int64_t>(words[7]);
  state.user_id = std::string(record.substr(sizeof words));
  return state;
}

void Arrive(int64_t known_ms, UserState& state) {
  ++state.sequence;
  if (state.sequence > 1 && known_ms < state.newest_known_ms) {
    state.late_sequence = state.sequence;
  } else {
    state.newest_known_ms = known_ms;
  }
  ++state.events;
}

}  // namespace grab
