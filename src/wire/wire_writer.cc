#include "wire/wire_writer.h"

#include "state/event_record.h"

namespace grab {
namespace {

void WriteBits(uint32_t bits, uint32_t known, const std::vector<std::string>& names,
               google::protobuf::Map<std::string, bool>& out) {
  for (size_t i = 0; i < names.size(); ++i) {
    if ((known >> i & 1) != 0) out[names[i]] = (bits >> i & 1) != 0;
  }
}

// What an event has in both of its messages.
template <class Message>
void WriteFeedback(const Schema& schema, const EventColumns& columns, size_t row, Message& out) {
  out.set_event_key(columns.event_id[row]);
  out.set_request_time_ms(columns.request_time_ms[row]);
  out.set_known_time_ms(columns.known_time_ms[row]);
  out.set_candidate_only(columns.history[row] == 0);
  WriteBits(columns.actions[row], columns.actions_known[row], schema.actions,
            *out.mutable_actions());
  WriteBits(columns.labels[row], columns.labels_known[row], schema.tasks, *out.mutable_labels());
  WriteFields(schema, columns.fields, row, *out.mutable_fields());
}

}  // namespace

void WriteFields(const Schema& schema, const std::vector<FieldColumn>& fields, size_t row,
                 WireFields& out) {
  for (size_t f = 0; f < fields.size(); ++f) {
    const FieldSchema& field = schema.fields[f];
    const FieldColumn& column = fields[f];
    if (!HasValue(field, column, row)) continue;
    v1::Value& value = out[field.name];
    switch (field.kind) {
      case FieldKind::kId:
        value.set_key(column.ids[row]);
        break;
      case FieldKind::kIds:
        for (size_t i = column.offsets[row]; i < column.offsets[row + 1]; ++i) {
          value.mutable_ids()->add_keys(column.ids[i]);
          if (field.weighted) value.mutable_ids()->add_weights(column.numbers[i]);
        }
        break;
      case FieldKind::kNumber:
        value.set_number(static_cast<double>(column.numbers[row]));
        break;
      case FieldKind::kDense:
        for (size_t i = row * field.width; i < (row + 1) * field.width; ++i) {
          value.mutable_vector()->add_values(column.numbers[i]);
        }
        break;
    }
  }
}

void WriteStoredEvent(const Schema& schema, const UserEvents& events, size_t row,
                      v1::StoredEvent& out) {
  WriteFeedback(schema, events.columns, row, out);
  out.set_sequence(events.sequence[row]);
  out.set_item_id(events.item_id[row]);
}

void WriteEvent(const Schema& schema, const EventColumns& columns, size_t row,
                absl::string_view user_id, v1::Event& out) {
  WriteFeedback(schema, columns, row, out);
  out.set_user_id(std::string(user_id));
  out.set_page_key(columns.page_id[row]);
  out.set_session_key(columns.session_id[row]);
}

}  // namespace grab
