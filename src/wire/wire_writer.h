// Rows of a schema to messages of grab.proto. Ids are written as keys.
#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "data/timeline.h"
#include "proto/grab.pb.h"
#include "state/user_store.h"

namespace grab {

using WireFields = google::protobuf::Map<std::string, v1::Value>;

// Those that are not missing.
void WriteFields(const Schema& schema, const std::vector<FieldColumn>& fields, size_t row,
                 WireFields& out);

void WriteStoredEvent(const Schema& schema, const UserEvents& events, size_t row,
                      v1::StoredEvent& out);

// Row `row` as a client observes it.
void WriteEvent(const Schema& schema, const EventColumns& columns, size_t row,
                absl::string_view user_id, v1::Event& out);

}  // namespace grab
