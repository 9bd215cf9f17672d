// What an event carries in a shard: stored fields, action bits, task labels. Crosses are not
// stored; the tokeniser makes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace grab {

enum class FieldKind : uint8_t { kId = 0, kIds = 1, kNumber = 2, kDense = 3 };

struct FieldSchema {
  std::string name;
  FieldKind kind = FieldKind::kId;
  bool weighted = false;  // kIds: a weight beside every id
  uint32_t width = 0;     // kDense: floats per vector
  bool operator==(const FieldSchema&) const = default;
};

struct Schema {
  std::vector<FieldSchema> fields;
  std::vector<std::string> actions;  // bit i of EventColumns::actions
  std::vector<std::string> tasks;    // bit i of EventColumns::labels

  bool operator==(const Schema&) const = default;
  int FieldIndex(const std::string& name) const;  // -1 if absent

  // Stored fields, actions and tasks of a config; names must be unique and within the
  // limits of config/settings.h.
  static StatusOr<Schema> FromConfig(const Config& config);
  std::string ToJson() const;
  static StatusOr<Schema> FromJson(const std::string& json);
};

}  // namespace grab
