// Bytes of one event, and of the fields of one item, in the store (docs/formats/state.md). Readers
// take nothing on trust: a record that is torn, too long or out of the schema's bounds is a
// DataLoss.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "data/timeline.h"

namespace grab {

// Values of one field of one event that a record may hold.
inline constexpr uint32_t kRecordIdsMax = 1 << 16;

// Row `row` of `columns`, but for its known time, which is in the key.
void EncodeEvent(const Schema& schema, const EventColumns& columns, size_t row,
                 absl::string_view item_id, std::string& out);

// Appends the event to `columns` (split: context) and gives its item; after an error `columns` is
// as before.
Status DecodeEvent(const Schema& schema, absl::string_view record, int64_t known_ms,
                   EventColumns& columns, std::string& item_id);

// The event's id alone.
StatusOr<uint64_t> DecodeEventId(absl::string_view record);

// The fields of row `row` alone; a field that is missing there takes one bit.
void EncodeFields(const Schema& schema, const std::vector<FieldColumn>& fields, size_t row,
                  std::string& out);
// Appends one row to `fields`; the record must end there. After an error `fields` is as before.
Status DecodeFields(const Schema& schema, absl::string_view record,
                    std::vector<FieldColumn>& fields);

// Whether row `row` has a value of field `f`.
bool HasValue(const FieldSchema& field, const FieldColumn& column, size_t row);

}  // namespace grab
