#include "state/event_record.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "data/encoding.h"

namespace grab {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kHistory = 1, kPage = 2, kSession = 4;
constexpr uint8_t kFlagsAll = kHistory | kPage | kSession;
constexpr size_t kEventIdAt = 1;

template <class T>
void PutFixed(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  template <class T>
  Status Fixed(T* value) {
    return Bytes(sizeof *value, value);
  }

  Status Varint(uint64_t max, uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = 0;
      GRAB_RETURN_IF_ERROR(Fixed(&byte));
      *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) {
        if (shift == 63 && byte > 1) break;
        return *value <= max ? absl::OkStatus()
                             : Malformed(absl::StrCat("expected at most ", max, ", got ", *value));
      }
    }
    return Malformed("a number of more than 64 bits");
  }

  Status Bytes(size_t count, void* out) {
    GRAB_RETURN_IF_ERROR(Need(count));
    if (count > 0) std::memcpy(out, bytes_.data() + position_, count);
    position_ += count;
    return absl::OkStatus();
  }

  Status Text(size_t count, std::string* out) {
    GRAB_RETURN_IF_ERROR(Need(count));
    out->assign(bytes_.data() + position_, count);
    position_ += count;
    return absl::OkStatus();
  }

  Status Need(size_t count) const {
    if (count <= bytes_.size() - position_) return absl::OkStatus();
    return Malformed(
        absl::StrCat("expected ", count, " bytes more, got ", bytes_.size() - position_));
  }

  Status End() const {
    if (position_ == bytes_.size()) return absl::OkStatus();
    return Malformed(absl::StrCat(bytes_.size() - position_, " bytes too many"));
  }

  Status Malformed(absl::string_view detail) const {
    return absl::DataLossError(absl::StrCat("record: at byte ", position_, ": ", detail));
  }

 private:
  absl::string_view bytes_;
  size_t position_ = 0;
};

void PutValue(const FieldSchema& field, const FieldColumn& column, size_t row, std::string& out) {
  switch (field.kind) {
    case FieldKind::kId:
      PutFixed(column.ids[row], out);
      break;
    case FieldKind::kNumber:
      PutFixed(column.numbers[row], out);
      break;
    case FieldKind::kDense:
      out.append(reinterpret_cast<const char*>(column.numbers.data() + row * field.width),
                 field.width * sizeof(float));
      break;
    case FieldKind::kIds: {
      const uint32_t begin = column.offsets[row], count = column.offsets[row + 1] - begin;
      GRAB_CHECK(count <= kRecordIdsMax);
      PutVarint(count, out);
      out.append(reinterpret_cast<const char*>(column.ids.data() + begin),
                 count * sizeof(uint64_t));
      if (field.weighted) {
        out.append(reinterpret_cast<const char*>(column.numbers.data() + begin),
                   count * sizeof(float));
      }
      break;
    }
  }
}

Status TakeIds(const FieldSchema& field, Reader& reader, FieldColumn& column) {
  uint64_t count = 0;
  GRAB_RETURN_IF_ERROR(reader.Varint(kRecordIdsMax, &count));
  if (count == 0) return reader.Malformed("a list of no ids that is not missing");
  const size_t begin = column.ids.size();
  GRAB_RETURN_IF_ERROR(reader.Need(count * sizeof(uint64_t)));
  column.ids.resize(begin + count);
  GRAB_RETURN_IF_ERROR(reader.Bytes(count * sizeof(uint64_t), column.ids.data() + begin));
  for (size_t i = begin; i < column.ids.size(); ++i) {
    if (column.ids[i] == 0) return reader.Malformed("id 0 in a list");
  }
  if (field.weighted) {
    GRAB_RETURN_IF_ERROR(reader.Need(count * sizeof(float)));
    column.numbers.resize(begin + count);
    GRAB_RETURN_IF_ERROR(reader.Bytes(count * sizeof(float), column.numbers.data() + begin));
  }
  column.offsets.push_back(static_cast<uint32_t>(column.ids.size()));
  return absl::OkStatus();
}

Status TakeValue(const FieldSchema& field, Reader& reader, FieldColumn& column) {
  switch (field.kind) {
    case FieldKind::kId: {
      uint64_t id = 0;
      GRAB_RETURN_IF_ERROR(reader.Fixed(&id));
      column.ids.push_back(id);
      return absl::OkStatus();
    }
    case FieldKind::kNumber:
    case FieldKind::kDense: {
      const size_t width = field.kind == FieldKind::kDense ? field.width : 1;
      GRAB_RETURN_IF_ERROR(reader.Need(width * sizeof(float)));
      column.numbers.resize(column.numbers.size() + width);
      return reader.Bytes(width * sizeof(float),
                          column.numbers.data() + column.numbers.size() - width);
    }
    case FieldKind::kIds:
      return TakeIds(field, reader, column);
  }
  return reader.Malformed("unknown kind of field");
}

void PutMissing(const FieldSchema& field, FieldColumn& column) {
  switch (field.kind) {
    case FieldKind::kId:
      column.ids.push_back(0);
      break;
    case FieldKind::kNumber:
      column.numbers.push_back(NAN);
      break;
    case FieldKind::kDense:
      column.numbers.insert(column.numbers.end(), field.width, NAN);
      break;
    case FieldKind::kIds:
      column.offsets.push_back(static_cast<uint32_t>(column.ids.size()));
      break;
  }
}

void TruncateFields(const Schema& schema, size_t rows, std::vector<FieldColumn>& fields) {
  for (size_t f = 0; f < fields.size(); ++f) {
    FieldColumn& column = fields[f];
    switch (schema.fields[f].kind) {
      case FieldKind::kId:
        column.ids.resize(rows);
        break;
      case FieldKind::kNumber:
        column.numbers.resize(rows);
        break;
      case FieldKind::kDense:
        column.numbers.resize(rows * schema.fields[f].width);
        break;
      case FieldKind::kIds:
        column.offsets.resize(rows + 1);
        column.ids.resize(column.offsets.back());
        if (schema.fields[f].weighted) column.numbers.resize(column.offsets.back());
        break;
    }
  }
}

size_t Rows(const Schema& schema, const std::vector<FieldColumn>& fields) {
  if (fields.empty()) return 0;
  switch (schema.fields[0].kind) {
    case FieldKind::kId:
      return fields[0].ids.size();
    case FieldKind::kNumber:
      return fields[0].numbers.size();
    case FieldKind::kDense:
      return fields[0].numbers.size() / schema.fields[0].width;
    case FieldKind::kIds:
      return fields[0].offsets.size() - 1;
  }
  return 0;
}

Status TakeFields(const Schema& schema, Reader& reader, std::vector<FieldColumn>& fields) {
  GRAB_CHECK(fields.size() == schema.fields.size());
  const size_t rows = Rows(schema, fields);
  const Status status = [&] {
    std::string present;
    GRAB_RETURN_IF_ERROR(reader.Text((fields.size() + 7) / 8, &present));
    for (size_t f = 0; f < fields.size(); ++f) {
      if ((present[f / 8] >> (f % 8) & 1) == 0) {
        PutMissing(schema.fields[f], fields[f]);
      } else {
        GRAB_RETURN_IF_ERROR(
            Annotate(TakeValue(schema.fields[f], reader, fields[f]), schema.fields[f].name));
      }
    }
    return reader.End();
  }();
  if (!status.ok()) TruncateFields(schema, rows, fields);
  return status;
}

// What an event has beside its fields.
struct Head {
  uint64_t event_id = 0;
  uint64_t flags = 0;
  uint64_t delay = 0;  // zigzag of known - request, ms
  uint64_t page_id = 0, session_id = 0;
  uint64_t actions = 0, actions_known = 0, labels = 0, labels_known = 0;
};

Status TakeBits(Reader& reader, size_t count, uint64_t* bits, uint64_t* known) {
  const uint64_t all = (uint64_t{1} << count) - 1;
  GRAB_RETURN_IF_ERROR(reader.Varint(all, known));
  GRAB_RETURN_IF_ERROR(reader.Varint(all, bits));
  return (*bits & ~*known) == 0 ? absl::OkStatus() : reader.Malformed("a bit that is not known");
}

Status TakeHead(const Schema& schema, Reader& reader, Head& head, std::string& item_id) {
  uint8_t version = 0;
  GRAB_RETURN_IF_ERROR(reader.Fixed(&version));
  if (version != kVersion) {
    return reader.Malformed(absl::StrCat("expected version ", kVersion, ", got ", version));
  }
  GRAB_RETURN_IF_ERROR(reader.Fixed(&head.event_id));
  GRAB_RETURN_IF_ERROR(reader.Varint(kFlagsAll, &head.flags));
  GRAB_RETURN_IF_ERROR(reader.Varint(~uint64_t{0}, &head.delay));
  if (UnZigZag(head.delay) < 0) return reader.Malformed("known before it was requested");
  if ((head.flags & kPage) != 0) GRAB_RETURN_IF_ERROR(reader.Fixed(&head.page_id));
  if ((head.flags & kSession) != 0) GRAB_RETURN_IF_ERROR(reader.Fixed(&head.session_id));
  GRAB_RETURN_IF_ERROR(TakeBits(reader, schema.actions.size(), &head.actions, &head.actions_known));
  GRAB_RETURN_IF_ERROR(TakeBits(reader, schema.tasks.size(), &head.labels, &head.labels_known));
  uint64_t item_bytes = 0;
  GRAB_RETURN_IF_ERROR(reader.Varint(kRecordIdsMax, &item_bytes));
  return reader.Text(item_bytes, &item_id);
}

}  // namespace

bool HasValue(const FieldSchema& field, const FieldColumn& column, size_t row) {
  switch (field.kind) {
    case FieldKind::kId:
      return column.ids[row] != 0;
    case FieldKind::kNumber:
      return !std::isnan(column.numbers[row]);
    case FieldKind::kDense: {
      const float* vector = column.numbers.data() + row * field.width;
      return !std::all_of(vector, vector + field.width, [](float x) { return std::isnan(x); });
    }
    case FieldKind::kIds:
      return column.offsets[row + 1] != column.offsets[row];
  }
  return false;
}

void EncodeFields(const Schema& schema, const std::vector<FieldColumn>& fields, size_t row,
                  std::string& out) {
  const size_t bitmap_at = out.size();
  out.append((fields.size() + 7) / 8, '\0');
  for (size_t f = 0; f < fields.size(); ++f) {
    if (!HasValue(schema.fields[f], fields[f], row)) continue;
    char& byte = out[bitmap_at + f / 8];
    byte = static_cast<char>(byte | 1 << (f % 8));
    PutValue(schema.fields[f], fields[f], row, out);
  }
}

Status DecodeFields(const Schema& schema, absl::string_view record,
                    std::vector<FieldColumn>& fields) {
  Reader reader(record);
  return TakeFields(schema, reader, fields);
}

void EncodeEvent(const Schema& schema, const EventColumns& columns, size_t row,
                 absl::string_view item_id, std::string& out) {
  PutFixed(kVersion, out);
  PutFixed(columns.event_id[row], out);
  out.push_back(static_cast<char>((columns.history[row] != 0 ? kHistory : 0) |
                                  (columns.page_id[row] != 0 ? kPage : 0) |
                                  (columns.session_id[row] != 0 ? kSession : 0)));
  PutVarint(ZigZag(columns.known_time_ms[row] - columns.request_time_ms[row]), out);
  if (columns.page_id[row] != 0) PutFixed(columns.page_id[row], out);
  if (columns.session_id[row] != 0) PutFixed(columns.session_id[row], out);
  PutVarint(columns.actions_known[row], out);
  PutVarint(columns.actions[row], out);
  PutVarint(columns.labels_known[row], out);
  PutVarint(columns.labels[row], out);
  PutVarint(item_id.size(), out);
  out.append(item_id.data(), item_id.size());
  EncodeFields(schema, columns.fields, row, out);
}

Status DecodeEvent(const Schema& schema, absl::string_view record, int64_t known_ms,
                   EventColumns& columns, std::string& item_id) {
  Reader reader(record);
  Head head;
  GRAB_RETURN_IF_ERROR(TakeHead(schema, reader, head, item_id));
  GRAB_RETURN_IF_ERROR(TakeFields(schema, reader, columns.fields));
  columns.event_id.push_back(head.event_id);
  columns.known_time_ms.push_back(known_ms);
  // As unsigned: a torn record may hold any delay.
  columns.request_time_ms.push_back(static_cast<int64_t>(
      static_cast<uint64_t>(known_ms) - static_cast<uint64_t>(UnZigZag(head.delay))));
  columns.page_id.push_back(head.page_id);
  columns.session_id.push_back(head.session_id);
  columns.split.push_back(Split::kContext);
  columns.history.push_back((head.flags & kHistory) != 0 ? 1 : 0);
  columns.actions.push_back(static_cast<uint32_t>(head.actions));
  columns.actions_known.push_back(static_cast<uint32_t>(head.actions_known));
  columns.labels.push_back(static_cast<uint32_t>(head.labels));
  columns.labels_known.push_back(static_cast<uint32_t>(head.labels_known));
  return absl::OkStatus();
}

StatusOr<uint64_t> DecodeEventId(absl::string_view record) {
  uint64_t event_id = 0;
  if (record.size() < kEventIdAt + sizeof event_id) {
    return absl::DataLossError(
        absl::StrCat("record: expected an event, got ", record.size(), " bytes"));
  }
  std::memcpy(&event_id, record.data() + kEventIdAt, sizeof event_id);
  return event_id;
}

}  // namespace grab
