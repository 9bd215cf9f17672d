#include "data/timeline.h"

#include <algorithm>

#include "base/check.h"

namespace grab {
namespace {

template <class T>
void AppendRange(const std::vector<T>& from, size_t begin, size_t end, std::vector<T>& to) {
  to.insert(to.end(), from.begin() + static_cast<ptrdiff_t>(begin),
            from.begin() + static_cast<ptrdiff_t>(end));
}

Status Bad(absl::string_view what, absl::string_view detail) {
  return absl::InvalidArgumentError(absl::StrCat("user block: ", what, ": ", detail));
}

Status CheckLength(absl::string_view what, size_t got, size_t expected) {
  if (got == expected) return absl::OkStatus();
  return Bad(what, absl::StrCat("expected ", expected, " values, got ", got));
}

Status CheckOffsets(absl::string_view what, const std::vector<uint32_t>& offsets, size_t rows,
                    size_t values) {
  GRAB_RETURN_IF_ERROR(CheckLength(absl::StrCat(what, " offsets"), offsets.size(), rows + 1));
  if (offsets[0] != 0 || offsets[rows] != values ||
      !std::is_sorted(offsets.begin(), offsets.end())) {
    return Bad(what, absl::StrCat("offsets should ascend from 0 to ", values));
  }
  return absl::OkStatus();
}

Status CheckField(const FieldSchema& field, const FieldColumn& column, size_t n) {
  const std::string& name = field.name;
  switch (field.kind) {
    case FieldKind::kId:
      GRAB_RETURN_IF_ERROR(CheckLength(name, column.ids.size(), n));
      GRAB_RETURN_IF_ERROR(CheckLength(name, column.numbers.size(), 0));
      return CheckLength(name, column.offsets.size(), 0);
    case FieldKind::kIds:
      GRAB_RETURN_IF_ERROR(CheckOffsets(name, column.offsets, n, column.ids.size()));
      GRAB_RETURN_IF_ERROR(CheckLength(absl::StrCat(name, " weights"), column.numbers.size(),
                                       field.weighted ? column.ids.size() : 0));
      for (size_t i = 0; i < n; ++i) {
        if (column.offsets[i + 1] - column.offsets[i] > static_cast<uint64_t>(kFieldValuesMax)) {
          return Bad(name, absl::StrCat(column.offsets[i + 1] - column.offsets[i],
                                        " ids at one event, at most ", kFieldValuesMax));
        }
      }
      if (std::find(column.ids.begin(), column.ids.end(), 0) != column.ids.end()) {
        return Bad(name, "key 0 (missing) inside a list of ids");
      }
      return absl::OkStatus();
    case FieldKind::kNumber:
    case FieldKind::kDense: {
      const size_t width = field.kind == FieldKind::kDense ? field.width : 1;
      GRAB_RETURN_IF_ERROR(CheckLength(name, column.numbers.size(), n * width));
      GRAB_RETURN_IF_ERROR(CheckLength(name, column.ids.size(), 0));
      return CheckLength(name, column.offsets.size(), 0);
    }
  }
  return Bad(name, "unknown kind of field");
}

// `bits` must lie inside `known`, and `known` inside the lowest `count` bits.
Status CheckBits(absl::string_view what, const std::vector<uint32_t>& bits,
                 const std::vector<uint32_t>& known, size_t count, size_t n) {
  GRAB_RETURN_IF_ERROR(CheckLength(what, bits.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength(absl::StrCat(what, " known"), known.size(), n));
  const uint32_t allowed = static_cast<uint32_t>((1ULL << count) - 1);
  uint32_t wrong = 0;
  for (size_t i = 0; i < n; ++i) wrong |= (bits[i] & ~known[i]) | (known[i] & ~allowed);
  if (wrong != 0) return Bad(what, "a bit is set that is unknown or not in the schema");
  return absl::OkStatus();
}

Status CheckTimes(const UserBlock& block) {
  const EventColumns& events = block.events;
  for (size_t user = 0; user < block.users(); ++user) {
    for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
      if (events.known_time_ms[i] < events.request_time_ms[i]) {
        return Bad(block.user_id[user],
                   absl::StrCat("event ", i, " was known at ", events.known_time_ms[i],
                                ", requested at ", events.request_time_ms[i]));
      }
      if (i > block.user_offsets[user] && events.known_time_ms[i] < events.known_time_ms[i - 1]) {
        return Bad(block.user_id[user],
                   absl::StrCat("event ", i, " was known before the one in front of it"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AppendEvent(const Schema& schema, const EventColumns& from, size_t index, EventColumns& to) {
  GRAB_CHECK(index < from.size());
  to.event_id.push_back(from.event_id[index]);
  to.request_time_ms.push_back(from.request_time_ms[index]);
  to.known_time_ms.push_back(from.known_time_ms[index]);
  to.page_id.push_back(from.page_id[index]);
  to.session_id.push_back(from.session_id[index]);
  to.split.push_back(from.split[index]);
  to.history.push_back(from.history[index]);
  to.actions.push_back(from.actions[index]);
  to.actions_known.push_back(from.actions_known[index]);
  to.labels.push_back(from.labels[index]);
  to.labels_known.push_back(from.labels_known[index]);
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    const FieldSchema& field = schema.fields[f];
    const FieldColumn& source = from.fields[f];
    FieldColumn& target = to.fields[f];
    switch (field.kind) {
      case FieldKind::kId:
        target.ids.push_back(source.ids[index]);
        break;
      case FieldKind::kNumber:
        target.numbers.push_back(source.numbers[index]);
        break;
      case FieldKind::kDense:
        AppendRange(source.numbers, index * field.width, (index + 1) * field.width, target.numbers);
        break;
      case FieldKind::kIds: {
        const uint32_t begin = source.offsets[index];
        const uint32_t end = source.offsets[index + 1];
        AppendRange(source.ids, begin, end, target.ids);
        if (field.weighted) AppendRange(source.numbers, begin, end, target.numbers);
        target.offsets.push_back(target.offsets.back() + (end - begin));
        break;
      }
    }
  }
}

EventColumns MakeColumns(const Schema& schema) {
  EventColumns columns;
  columns.fields.resize(schema.fields.size());
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (schema.fields[f].kind == FieldKind::kIds) columns.fields[f].offsets.push_back(0);
  }
  return columns;
}

Status Validate(const Schema& schema, const UserBlock& block) {
  const EventColumns& events = block.events;
  const size_t n = events.size();
  GRAB_RETURN_IF_ERROR(CheckOffsets("users", block.user_offsets, block.users(), n));
  for (const std::string& user : block.user_id) {
    if (user.empty() || user.size() > kUserIdBytesMax) {
      return Bad("users",
                 absl::StrCat("an id of ", user.size(), " bytes, expected 1 to ", kUserIdBytesMax));
    }
  }
  GRAB_RETURN_IF_ERROR(CheckLength("request_time_ms", events.request_time_ms.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength("known_time_ms", events.known_time_ms.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength("page_id", events.page_id.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength("session_id", events.session_id.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength("split", events.split.size(), n));
  for (const Split split : events.split) {
    if (split > Split::kTest) return Bad("split", "unknown value");
  }
  GRAB_RETURN_IF_ERROR(CheckLength("history", events.history.size(), n));
  for (const uint8_t history : events.history) {
    if (history > 1) return Bad("history", "neither 0 nor 1");
  }
  GRAB_RETURN_IF_ERROR(
      CheckBits("actions", events.actions, events.actions_known, schema.actions.size(), n));
  GRAB_RETURN_IF_ERROR(
      CheckBits("labels", events.labels, events.labels_known, schema.tasks.size(), n));
  GRAB_RETURN_IF_ERROR(CheckLength("fields", events.fields.size(), schema.fields.size()));
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    GRAB_RETURN_IF_ERROR(CheckField(schema.fields[f], events.fields[f], n));
  }
  return CheckTimes(block);
}

}  // namespace grab
