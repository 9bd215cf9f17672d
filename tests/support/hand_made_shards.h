// Shards of a few events written out by hand: an id field "item", a number "price", one task.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "support/shard_folder.h"

namespace grab::testing {

inline constexpr int64_t kHourMs = 3'600'000;

struct HandMadeEvent {
  int64_t request_h;
  int64_t known_h;
  Split split;
  uint64_t item;
  int label;  // -1: unknown
  bool history = true;
};

inline Schema HandMadeSchema() {
  Schema schema;
  schema.fields = {{"item", FieldKind::kId, false, 0}, {"price", FieldKind::kNumber, false, 0}};
  schema.actions = {"click"};
  schema.tasks = {"click"};
  return schema;
}

// A block of one user. The event's action is its label; its id is its place in the block, from 1.
inline UserBlock HandMadeUser(const std::string& id, const std::vector<HandMadeEvent>& events) {
  UserBlock block;
  block.events = MakeColumns(HandMadeSchema());
  block.user_id = {id};
  EventColumns& columns = block.events;
  for (const HandMadeEvent& event : events) {
    columns.event_id.push_back(columns.size() + 1);
    columns.request_time_ms.push_back(event.request_h * kHourMs);
    columns.known_time_ms.push_back(event.known_h * kHourMs);
    columns.page_id.push_back(0);
    columns.session_id.push_back(0);
    columns.split.push_back(event.split);
    columns.history.push_back(event.history ? 1 : 0);
    columns.labels.push_back(event.label == 1 ? 1 : 0);
    columns.labels_known.push_back(event.label >= 0 ? 1 : 0);
    columns.actions.push_back(columns.labels.back());
    columns.actions_known.push_back(columns.labels_known.back());
    columns.fields[0].ids.push_back(event.item);
    columns.fields[1].numbers.push_back(1.0f);
  }
  block.user_offsets = {0, static_cast<uint32_t>(columns.size())};
  return block;
}

// Users "user0", "user1" and so on, one per block, so that what is kept must outlive a block.
inline std::unique_ptr<ShardSet> HandMadeShards(
    const std::string& dir, const std::vector<std::vector<HandMadeEvent>>& users) {
  std::vector<UserBlock> blocks;
  for (size_t u = 0; u < users.size(); ++u) {
    blocks.push_back(HandMadeUser(absl::StrCat("user", u), users[u]));
  }
  return WriteShards(HandMadeSchema(), blocks, dir);
}

}  // namespace grab::testing
