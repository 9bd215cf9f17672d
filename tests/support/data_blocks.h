// Random schemas and blocks of every field kind, and equality that tells missing numbers (NaN)
// alike.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/timeline.h"

namespace grab {

inline Schema AllKindsSchema() {
  Schema schema;
  schema.fields = {{"few", FieldKind::kId, false, 0},       {"of_few", FieldKind::kId, false, 0},
                   {"many", FieldKind::kId, false, 0},      {"of_user", FieldKind::kId, false, 0},
                   {"tags", FieldKind::kIds, false, 0},     {"weighted", FieldKind::kIds, true, 0},
                   {"price", FieldKind::kNumber, false, 0}, {"count", FieldKind::kNumber, false, 0},
                   {"text", FieldKind::kDense, false, 3}};
  schema.actions = {"click", "like"};
  schema.tasks = {"click"};
  return schema;
}

inline float RandomFloat(Rng& rng) {
  switch (rng.Below(8)) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return -0.0f;
    case 2:
      return std::numeric_limits<float>::max();
    case 3:
      return std::numeric_limits<float>::denorm_min();
    default:
      return static_cast<float>(rng.Normal());
  }
}

// Extremes as often as ordinary values.
inline uint64_t RandomWord(Rng& rng) {
  const uint64_t special[] = {0, 1, 255, 256, ~uint64_t{0}, uint64_t{1} << 63};
  return rng.Bernoulli(0.3) ? special[rng.Below(std::size(special))] : rng.Next();
}

inline void AppendRandomField(const FieldSchema& field, uint64_t user, Rng& rng, FieldColumn& out) {
  switch (field.kind) {
    case FieldKind::kId: {
      uint64_t value = RandomWord(rng);
      if (field.name == "few") value = 100 + rng.Below(5);
      if (field.name == "of_user") value = Mix64(user);
      out.ids.push_back(value);
      break;
    }
    case FieldKind::kNumber:
      out.numbers.push_back(field.name == "count" && rng.Bernoulli(0.8)
                                ? static_cast<float>(rng.Below(1000))
                                : RandomFloat(rng));
      break;
    case FieldKind::kDense:
      for (uint32_t i = 0; i < field.width; ++i) out.numbers.push_back(RandomFloat(rng));
      break;
    case FieldKind::kIds: {
      const uint64_t count = rng.Below(4);
      for (uint64_t i = 0; i < count; ++i) {
        out.ids.push_back(1 + RandomWord(rng) / 2);
        if (field.weighted) out.numbers.push_back(RandomFloat(rng));
      }
      out.offsets.push_back(static_cast<uint32_t>(out.ids.size()));
      break;
    }
  }
}

inline void AppendRandomEvent(const Schema& schema, uint64_t user, int64_t known_time_ms, Rng& rng,
                              EventColumns& events) {
  events.event_id.push_back(RandomWord(rng));
  events.known_time_ms.push_back(known_time_ms);
  events.request_time_ms.push_back(known_time_ms - static_cast<int64_t>(rng.Below(3) * 500));
  events.page_id.push_back(rng.Bernoulli(0.3) ? 0 : rng.Next());
  events.session_id.push_back(rng.Below(3));
  events.split.push_back(static_cast<Split>(rng.Below(4)));
  events.history.push_back(rng.Bernoulli(0.8) ? 1 : 0);
  const uint32_t actions_known = static_cast<uint32_t>(rng.Below(4));
  events.actions_known.push_back(actions_known);
  events.actions.push_back(actions_known & static_cast<uint32_t>(rng.Next()));
  const uint32_t labels_known = static_cast<uint32_t>(rng.Below(2));
  events.labels_known.push_back(labels_known);
  events.labels.push_back(labels_known & static_cast<uint32_t>(rng.Next()));
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    AppendRandomField(schema.fields[f], user, rng, events.fields[f]);
  }
  // A field that another one determines, as the author of a video.
  const int few = schema.FieldIndex("few");
  const int of_few = schema.FieldIndex("of_few");
  if (few >= 0 && of_few >= 0) {
    events.fields[static_cast<size_t>(of_few)].ids.back() =
        Mix64(events.fields[static_cast<size_t>(few)].ids.back());
  }
}

// `users` users with 0 to `events_max` events each; ids are numbers or text, by `numeric_users`.
inline UserBlock RandomBlock(const Schema& schema, uint64_t seed, size_t users, size_t events_max,
                             bool numeric_users) {
  Rng rng(seed);
  UserBlock block;
  block.events = MakeColumns(schema);
  block.user_offsets.push_back(0);
  for (size_t user = 0; user < users; ++user) {
    block.user_id.push_back(numeric_users
                                ? std::to_string(static_cast<int64_t>(RandomWord(rng)))
                                : "user " + std::string(rng.Below(30), 'x') + std::to_string(user));
    const uint64_t events = rng.Below(events_max + 1);
    int64_t time_ms = static_cast<int64_t>(rng.Below(2000000000000));
    for (uint64_t i = 0; i < events; ++i) {
      time_ms += static_cast<int64_t>(rng.Below(3) * rng.Below(1000000000));
      AppendRandomEvent(schema, user, time_ms, rng, block.events);
    }
    block.user_offsets.push_back(static_cast<uint32_t>(block.events.size()));
  }
  return block;
}

// `count` more ids of kIds field `f`, which has no weights, at the first event.
inline void GiveIds(EventColumns& events, size_t f, uint32_t count) {
  FieldColumn& column = events.fields[f];
  column.ids.insert(column.ids.begin(), count, 7);
  for (size_t i = 1; i < column.offsets.size(); ++i) column.offsets[i] += count;
}

inline bool SameFloats(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) return false;
  }
  return true;
}

// The events of one split, of all users.
inline UserBlock OnlySplit(const Schema& schema, const UserBlock& block, Split split) {
  UserBlock only;
  only.user_id = block.user_id;
  only.user_offsets = {0};
  only.events = MakeColumns(schema);
  for (size_t user = 0; user < block.users(); ++user) {
    for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
      if (block.events.split[i] == split) AppendEvent(schema, block.events, i, only.events);
    }
    only.user_offsets.push_back(static_cast<uint32_t>(only.events.size()));
  }
  return only;
}

inline bool SameBlocks(const UserBlock& a, const UserBlock& b) {
  const EventColumns& x = a.events;
  const EventColumns& y = b.events;
  if (a.user_id != b.user_id || a.user_offsets != b.user_offsets || x.event_id != y.event_id ||
      x.request_time_ms != y.request_time_ms || x.known_time_ms != y.known_time_ms ||
      x.page_id != y.page_id || x.session_id != y.session_id || x.split != y.split ||
      x.history != y.history || x.actions != y.actions || x.actions_known != y.actions_known ||
      x.labels != y.labels || x.labels_known != y.labels_known ||
      x.fields.size() != y.fields.size()) {
    return false;
  }
  for (size_t f = 0; f < x.fields.size(); ++f) {
    if (x.fields[f].offsets != y.fields[f].offsets || x.fields[f].ids != y.fields[f].ids ||
        !SameFloats(x.fields[f].numbers, y.fields[f].numbers)) {
      return false;
    }
  }
  return true;
}

}  // namespace grab
