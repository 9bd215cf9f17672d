// How a block's columns are laid out (docs/formats/shard.md): what its encoder and decoder share.
#pragma once

#include <cstdint>

#include "data/schema.h"

namespace grab {

// How the users' ids are stored.
enum UsersKind : uint8_t { kUsersText = 0, kUsersDecimal = 1 };

// How a column with one value per event is stored.
enum ColumnKind : uint8_t {
  kColumnPlain = 0,      // a value per event
  kColumnPerUser = 1,    // a value per user
  kColumnUserKey = 2,    // HashId of the user's id
  kColumnGroupRank = 3,  // GroupKey: differences of ranks
  kColumnDependent = 4,  // a value per dictionary entry of an earlier field
};

// Added to the split of an event that is never history.
inline constexpr uint64_t kCandidateOnly = 4;

// Memory of a byte of a user's id: in the id and, while that is decoded, in the text of all.
inline constexpr uint64_t kUserTextBytes = 2;

// Memory of a decoded user beside its id's text, of an event beside the ids of its kIds fields, and
// of one such id.
uint64_t UserBytes();
uint64_t EventBytes(const Schema& schema);
uint64_t IdBytes(const FieldSchema& field);

}  // namespace grab
