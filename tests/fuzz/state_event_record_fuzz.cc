// Any bytes as the record of an event, of an item and of a user: refused or read, never more memory
// than the bounds allow.
#include "state/event_record.h"
#include "state/user_record.h"
#include "support/data_blocks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const grab::Schema schema = grab::AllKindsSchema();
  const absl::string_view record(reinterpret_cast<const char*>(data), size);
  grab::EventColumns columns = grab::MakeColumns(schema);
  std::string item;
  const bool read = grab::DecodeEvent(schema, record, 5, columns, item).ok();
  if (columns.size() != (read ? 1u : 0u)) __builtin_trap();
  std::vector<grab::FieldColumn> fields = grab::MakeColumns(schema).fields;
  (void)grab::DecodeFields(schema, record, fields);
  (void)grab::DecodeUser(record);
  (void)grab::PositionOf(record);
  return 0;
}
