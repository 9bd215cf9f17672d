// What a token is made of (DESIGN 3.1, 3.2): the slots of the partial (history) and the full
// (candidate) view, and the embedding tables they read.
//
// A slot turns one event into a few (key, weight) pairs of one table, or into a dense vector.
// Whatever the field kind, the model sees only pairs and vectors, so a new field kind ends in this
// folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "data/schema.h"
#include "nlohmann/json_fwd.hpp"

namespace grab {

enum class SlotKind : uint8_t {
  kId,       // one key; missing = no pair
  kIds,      // several keys with weights
  kNumber,   // the key of a bucket
  kCross,    // one key mixed from several id or number fields; no pair if any is missing
  kActions,  // the feedback bits of the event; partial view only
  kDense,    // the vector itself; missing = zeros
};

struct TokenSlot {
  std::string name;
  SlotKind kind = SlotKind::kId;
  std::vector<int> fields;  // indices into Schema::fields; none for kActions
  std::vector<std::vector<double>>
      boundaries;      // per field: bucket bounds of numbers, empty for ids
  bool mean = true;    // kIds: weights are divided by their sum
  int table = -1;      // index into TokenSpec::tables; -1 for kDense
  uint32_t width = 0;  // columns of the slot in a token vector: the table's dim, or the dense width
  bool partial = false;
  bool full = false;
};

struct TableSpec {
  std::string name;
  uint32_t dim = 0;
  bool droppable = false;  // id dropout applies (ids and crosses; buckets are always known)
};

struct TokenSpec {
  Schema schema;
  std::vector<TokenSlot> slots;
  std::vector<TableSpec> tables;

  // The slot named so; nullptr if there is none.
  const TokenSlot* FindSlot(const std::string& name) const;
  // Columns of the concatenated slot vectors `v` of a view.
  uint32_t PartialWidth() const;
  uint32_t FullWidth() const;

  // From a checked config (CheckConfig) and the schema of the prepared data; a field that the data
  // lacks is an error.
  static StatusOr<TokenSpec> FromConfig(const Config& config, const Schema& schema,
                                        int64_t embedding_dim);
  nlohmann::json ToJson() const;
  static StatusOr<TokenSpec> FromJson(const nlohmann::json& json);
};

// Key of the bucket of `value`: 1 + the number of boundaries below it. NaN has no bucket (0).
uint64_t BucketKey(const std::vector<double>& boundaries, float value);

// An event's action class, for the attention bias: the first action (in schema order) that it has,
// 1 + its index; 0 if it has none and all are known; actions + 1 if none is set and some are
// unknown. One more class is the attending token itself (see ActionSelfClass).
int ActionClass(uint32_t actions, uint32_t actions_known, size_t action_count);
inline int ActionClasses(size_t action_count) { return static_cast<int>(action_count) + 3; }
inline int ActionSelfClass(size_t action_count) { return static_cast<int>(action_count) + 2; }

}  // namespace grab
