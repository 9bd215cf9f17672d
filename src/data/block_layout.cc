#include "data/block_layout.h"

#include <string>

#include "base/hash.h"
#include "data/block_codec.h"

namespace grab {
namespace {

constexpr uint64_t kColumnBytes = 8 * 5 + sizeof(Split) + 1 + 4 * 4;  // of EventColumns but fields

uint64_t FieldEventBytes(const FieldSchema& field) {
  switch (field.kind) {
    case FieldKind::kId:
      return sizeof(uint64_t);
    case FieldKind::kIds:
      return sizeof(uint32_t);
    case FieldKind::kNumber:
      return sizeof(float);
    case FieldKind::kDense:
      return sizeof(float) * field.width;
  }
  return 0;
}

}  // namespace

uint64_t UserBytes() { return sizeof(std::string) + sizeof(uint32_t); }

uint64_t EventBytes(const Schema& schema) {
  uint64_t bytes = kColumnBytes;
  for (const FieldSchema& field : schema.fields) bytes += FieldEventBytes(field);
  return bytes;
}

uint64_t IdBytes(const FieldSchema& field) {
  return sizeof(uint64_t) + (field.weighted ? sizeof(float) : 0);
}

uint64_t DecodedBytes(const Schema& schema, const UserBlock& block) {
  uint64_t bytes = (block.users() + 1) * UserBytes();
  for (const std::string& user : block.user_id) bytes += user.size() * kUserTextBytes;
  bytes += (block.events.size() + 1) * EventBytes(schema);
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (schema.fields[f].kind == FieldKind::kIds) {
      bytes += block.events.fields[f].ids.size() * IdBytes(schema.fields[f]);
    }
  }
  return bytes;
}

uint64_t GroupKey(uint64_t user_key, uint64_t rank) {
  return rank == 0 ? 0 : HashCombine(user_key, rank);
}

}  // namespace grab
