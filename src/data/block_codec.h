// One shard block: a UserBlock as bytes (docs/formats/shard.md), without the file around it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "data/timeline.h"

namespace grab {

// Memory of a block's decoded columns.
uint64_t DecodedBytes(const Schema& schema, const UserBlock& block);

// Key of the rank-th (from 1, by first appearance) page or session of a user; 0, none, for rank 0.
// `user_key` is HashId of the user's id. Blocks store pages and sessions with such keys as their
// small ranks.
uint64_t GroupKey(uint64_t user_key, uint64_t rank);

// `block` must be valid (Validate).
std::string EncodeBlock(const Schema& schema, const UserBlock& block, int zstd_level);

// Decodes a block of `users` and `events` and validates it. Untrusted bytes are fine: anything
// malformed, or larger than kBlockBytesMax when decoded, is a DataLoss; `error_offset` is then
// where in `bytes`. With `only` the block has the events of that split alone, of all users;
// codes and integers of other events are passed over unchecked.
StatusOr<UserBlock> DecodeBlock(const Schema& schema, uint32_t users, uint32_t events,
                                std::span<const uint8_t> bytes, uint64_t* error_offset,
                                std::optional<Split> only = std::nullopt);

}  // namespace grab
