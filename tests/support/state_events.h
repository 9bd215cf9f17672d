// Random events of one schema as columns, and stores in folders of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "state/user_store.h"
#include "support/base_temp_dir.h"
#include "support/data_blocks.h"

namespace grab {

// Event ids 1, 2, ...; known at `times_ms`.
inline EventColumns EventsAt(const Schema& schema, const std::vector<int64_t>& times_ms,
                             uint64_t first_id, Rng& rng) {
  EventColumns columns = MakeColumns(schema);
  for (size_t i = 0; i < times_ms.size(); ++i) {
    AppendRandomEvent(schema, 7, times_ms[i], rng, columns);
    columns.event_id.back() = first_id + i;
  }
  return columns;
}

inline std::unique_ptr<UserStore> OpenStore(const UserStoreOptions& options,
                                            const Schema& schema = AllKindsSchema()) {
  StatusOr<std::unique_ptr<UserStore>> store = UserStore::Open(options, schema);
  GRAB_CHECK_MSG(store.ok(), store.status().ToString());
  return *std::move(store);
}

// Appends every row of `columns` to one user in one call.
inline std::vector<AppendOutcome> AppendRows(UserStore& store, const std::string& user_id,
                                             const EventColumns& columns) {
  std::vector<NewEvent> events;
  for (size_t row = 0; row < columns.size(); ++row) {
    events.push_back({user_id, "item", &columns, row});
  }
  std::vector<AppendOutcome> outcomes(events.size());
  const Status status = store.AppendAll(events, absl::MakeSpan(outcomes));
  GRAB_CHECK_MSG(status.ok(), status.ToString());
  return outcomes;
}

inline UserEvents ReadAll(const UserStore& store, const std::string& user_id,
                          uint64_t events_max = 1 << 20) {
  UserEvents events;
  events.columns = MakeColumns(store.schema());
  const Status status = store.Read(HashId(user_id), std::nullopt, events_max, events);
  GRAB_CHECK_MSG(status.ok(), status.ToString());
  return events;
}

}  // namespace grab
