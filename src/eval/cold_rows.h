// Which targets of a split are of users and of items that are new: those that a model knows least
// of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "data/shard.h"

namespace grab {

// Distinct values of a field, over the targets of a split, that are told apart: 8 bytes and the
// overhead of a hash table each.
inline constexpr size_t kColdValuesMax = 50'000'000;

// When the first history of a user, events [begin, end), was known; the largest time without any.
int64_t FirstKnownMs(const EventColumns& events, size_t begin, size_t end);

struct ColdRows {
  using Row = std::pair<uint64_t, uint64_t>;  // key of the user (HashId of its id), id of the event

  std::optional<int64_t> from_ms;  // the first request among the targets; nullopt: there are none
  // Targets of users of whom no event is known before from_ms.
  absl::flat_hash_set<Row> of_new_users;
  // Per field: targets whose value is in no event requested before from_ms; a missing value is not
  // new. nullopt: there are more than values_max values, and none is counted.
  std::vector<std::optional<absl::flat_hash_set<Row>>> of_new_values;
};

// Reads blocks with targets of `split` once, and then those with events requested before them.
// Memory: 24 bytes and 8 per field for each target, and the values. A name in `fields` that is no
// id field of the schema is an InvalidArgument.
StatusOr<ColdRows> FindColdRows(const ShardSet& shards, Split split,
                                const std::vector<std::string>& fields,
                                size_t values_max = kColdValuesMax);

}  // namespace grab
