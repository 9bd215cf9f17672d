// Features of items, in memory, kept in the store and updated live: what a request that names an
// item does not have to send.
#pragma once

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "data/timeline.h"
#include "state/user_store.h"

namespace grab {

// An item to put: its fields are row `row` of `fields`, which follow the store's schema.
struct NewItem {
  absl::string_view item_id;
  const std::vector<FieldColumn>* fields = nullptr;
  size_t row = 0;
};

// Thread-safe.
class Catalogue {
 public:
  // Reads what `store` has, which must outlive it. ResourceExhausted past `bytes_max`.
  static StatusOr<std::unique_ptr<Catalogue>> Load(UserStore& store, size_t bytes_max);

  // Adds or replaces; durable once it returns. ResourceExhausted past the bound, InvalidArgument
  // for an empty or overlong id: nothing is changed.
  Status Put(absl::Span<const NewItem> items);
  Status Remove(absl::Span<const std::string> item_ids);  // those that are not there are ignored

  // Appends the fields of the item as one row; false: it is not known, and nothing is appended.
  bool Find(absl::string_view item_id, std::vector<FieldColumn>& fields) const;

  size_t items() const;

 private:
  Catalogue(UserStore& store, size_t bytes_max) : store_(store), bytes_max_(bytes_max) {}
  Status Add(absl::string_view item_id, absl::string_view record);  // as stored

  UserStore& store_;
  const size_t bytes_max_;
  mutable std::shared_mutex mutex_;
  absl::flat_hash_map<std::string, std::string> records_;  // EncodeFields
  size_t bytes_ = 0;                                       // of ids and records
};

}  // namespace grab
