// Fields that alone tell the label: what was written down afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "data/shard.h"

namespace grab {

// Of the scored half, rows of either class below which an AUC says nothing.
inline constexpr uint64_t kFieldAucRowsMin = 50;
inline constexpr uint32_t kFieldComponentsMax = 64;  // of a vector, the first ones

// For each of `fields` (indices into the schema) the AUC of the best of: the label rate per value,
// missing being one, fitted on half of the training targets and scored on the other; for numbers
// and the components of vectors also the value itself, up or down, of the targets that have it.
// Task `task`, the first `targets_max` training targets whose label is known, in shard order. By
// halves a value that no two events share, an id of the event for one, tells nothing. nullopt:
// fewer than kFieldAucRowsMin rows of a class. Memory: of one field and targets_max targets.
StatusOr<std::vector<std::optional<double>>> SingleFieldAucs(const ShardSet& shards,
                                                             const std::vector<int>& fields,
                                                             size_t task, uint64_t targets_max);

}  // namespace grab
