#include "tokens/token_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace grab {
namespace {

SlotKind KindOf(const std::string& kind) {
  if (kind == "id") return SlotKind::kId;
  if (kind == "ids") return SlotKind::kIds;
  if (kind == "number") return SlotKind::kNumber;
  if (kind == "dense") return SlotKind::kDense;
  GRAB_CHECK_MSG(kind == "cross", kind);
  return SlotKind::kCross;
}

const char* KindName(SlotKind kind) {
  static constexpr const char* kNames[] = {"id", "ids", "number", "cross", "actions", "dense"};
  return kNames[static_cast<int>(kind)];
}

const FieldConfig* FindField(const Config& config, const std::string& name) {
  for (const FieldConfig& field : config.fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

// The table of a slot, created on first use; fields that name the same table share it.
int TableIndex(const std::string& name, uint32_t dim, bool droppable,
               std::vector<TableSpec>& tables) {
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables[i].name == name) return static_cast<int>(i);
  }
  tables.push_back({name, dim, droppable});
  return static_cast<int>(tables.size()) - 1;
}

Status AddStoredField(const std::string& name, const std::vector<double>& boundaries,
                      const Schema& schema, TokenSlot& slot) {
  const int index = schema.FieldIndex(name);
  if (index < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", name, "' of the config is not in the shards; prepare them again"));
  }
  slot.fields.push_back(index);
  slot.boundaries.push_back(boundaries);
  return absl::OkStatus();
}

StatusOr<TokenSlot> MakeSlot(const Config& config, const FieldConfig& field, const Schema& schema,
                             int64_t embedding_dim, std::vector<TableSpec>& tables) {
  TokenSlot slot;
  slot.name = field.name;
  slot.kind = KindOf(field.kind);
  slot.mean = field.pool == "mean";
  slot.partial = field.InPartialToken();
  slot.full = field.InFullToken();
  if (slot.kind == SlotKind::kCross) {
    for (const std::string& part : field.of) {
      const FieldConfig* part_field = FindField(config, part);
      if (part_field == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("field '", field.name, "': crossed field '", part, "' does not exist"));
      }
      GRAB_RETURN_IF_ERROR(AddStoredField(part, part_field->boundaries, schema, slot));
    }
  } else {
    GRAB_RETURN_IF_ERROR(AddStoredField(field.name, field.boundaries, schema, slot));
  }
  if (slot.kind == SlotKind::kDense) {
    slot.width = static_cast<uint32_t>(field.width);
  } else {
    slot.width = static_cast<uint32_t>(field.dim > 0 ? field.dim : embedding_dim);
    slot.table = TableIndex(field.table.empty() ? field.name : field.table, slot.width,
                            slot.kind != SlotKind::kNumber, tables);
  }
  return slot;
}

template <class T>
StatusOr<T> Get(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) {
    return absl::InvalidArgumentError(absl::StrCat("token spec: '", key, "' is missing"));
  }
  T value{};
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("token spec: '", key, "' must be text"));
    }
    value = found->get<std::string>();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!found->is_boolean()) {
      return absl::InvalidArgumentError(absl::StrCat("token spec: '", key, "' must be a boolean"));
    }
    value = found->get<bool>();
  } else {
    if (!found->is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat("token spec: '", key, "' must be an integer"));
    }
    value = found->get<T>();
  }
  return value;
}

StatusOr<TokenSlot> SlotFromJson(const nlohmann::json& json, const TokenSpec& spec) {
  TokenSlot slot;
  if (!json.is_object()) return absl::InvalidArgumentError("token spec: a slot must be an object");
  GRAB_ASSIGN_OR_RETURN(slot.name, Get<std::string>(json, "name"));
  GRAB_ASSIGN_OR_RETURN(const std::string kind, Get<std::string>(json, "kind"));
  GRAB_ASSIGN_OR_RETURN(slot.mean, Get<bool>(json, "mean"));
  GRAB_ASSIGN_OR_RETURN(slot.table, Get<int>(json, "table"));
  GRAB_ASSIGN_OR_RETURN(slot.width, Get<uint32_t>(json, "width"));
  GRAB_ASSIGN_OR_RETURN(slot.partial, Get<bool>(json, "partial"));
  GRAB_ASSIGN_OR_RETURN(slot.full, Get<bool>(json, "full"));
  const auto invalid = [&](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("token spec: slot '", slot.name, "': ", what));
  };
  bool known = false;
  for (int k = 0; k <= static_cast<int>(SlotKind::kDense); ++k) {
    if (kind == KindName(static_cast<SlotKind>(k))) {
      slot.kind = static_cast<SlotKind>(k);
      known = true;
    }
  }
  if (!known) return invalid("unknown kind");
  const auto fields = json.find("fields");
  const auto boundaries = json.find("boundaries");
  if (fields == json.end() || boundaries == json.end() || !fields->is_array() ||
      !boundaries->is_array() || fields->size() != boundaries->size()) {
    return invalid("'fields' and 'boundaries' must be lists of equal length");
  }
  for (size_t i = 0; i < fields->size(); ++i) {
    const nlohmann::json& field = (*fields)[i];
    const nlohmann::json& bounds = (*boundaries)[i];
    if (!field.is_string() || !bounds.is_array()) return invalid("malformed field");
    slot.fields.push_back(spec.schema.FieldIndex(field.get<std::string>()));
    if (slot.fields.back() < 0) return invalid("field is not in the schema");
    std::vector<double>& values = slot.boundaries.emplace_back();
    for (const nlohmann::json& bound : bounds) {
      if (!bound.is_number()) return invalid("a boundary must be a number");
      values.push_back(bound.get<double>());
    }
    if (!std::is_sorted(values.begin(), values.end())) return invalid("boundaries must ascend");
  }
  const size_t fields_expected = slot.kind == SlotKind::kActions ? 0 : 1;
  const bool count_ok = slot.kind == SlotKind::kCross ? slot.fields.size() >= 2
                                                      : slot.fields.size() == fields_expected;
  if (!count_ok) return invalid("wrong number of fields for its kind");
  if (slot.kind == SlotKind::kDense) {
    const FieldSchema& field = spec.schema.fields[static_cast<size_t>(slot.fields[0])];
    if (field.kind != FieldKind::kDense || field.width != slot.width) {
      return invalid("width differs from the schema's dense field");
    }
    slot.table = -1;
  } else if (slot.table < 0 || static_cast<size_t>(slot.table) >= spec.tables.size() ||
             spec.tables[static_cast<size_t>(slot.table)].dim != slot.width) {
    return invalid("no table of its width");
  }
  return slot;
}

}  // namespace

const TokenSlot* TokenSpec::FindSlot(const std::string& name) const {
  const auto found = std::find_if(slots.begin(), slots.end(),
                                  [&](const TokenSlot& slot) { return slot.name == name; });
  return found == slots.end() ? nullptr : &*found;
}

uint32_t TokenSpec::PartialWidth() const {
  uint32_t width = 0;
  for (const TokenSlot& slot : slots) width += slot.partial ? slot.width : 0;
  return width;
}

uint32_t TokenSpec::FullWidth() const {
  uint32_t width = 0;
  for (const TokenSlot& slot : slots) width += slot.full ? slot.width : 0;
  return width;
}

StatusOr<TokenSpec> TokenSpec::FromConfig(const Config& config, const Schema& schema,
                                          int64_t embedding_dim) {
  TokenSpec spec;
  spec.schema = schema;
  for (const FieldConfig& field : config.fields) {
    GRAB_ASSIGN_OR_RETURN(TokenSlot slot,
                          MakeSlot(config, field, schema, embedding_dim, spec.tables));
    spec.slots.push_back(std::move(slot));
  }
  if (!schema.actions.empty()) {
    TokenSlot actions;
    actions.name = "@actions";
    actions.kind = SlotKind::kActions;
    actions.mean = false;
    actions.width = static_cast<uint32_t>(embedding_dim);
    actions.table = TableIndex(actions.name, actions.width, false, spec.tables);
    actions.partial = true;
    spec.slots.push_back(std::move(actions));
  }
  return spec;
}

nlohmann::json TokenSpec::ToJson() const {
  nlohmann::json json;
  json["schema"] = nlohmann::json::parse(schema.ToJson());
  for (const TableSpec& table : tables) {
    json["tables"].push_back(
        {{"name", table.name}, {"dim", table.dim}, {"droppable", table.droppable}});
  }
  for (const TokenSlot& slot : slots) {
    nlohmann::json fields = nlohmann::json::array();
    for (const int field : slot.fields) {
      fields.push_back(schema.fields[static_cast<size_t>(field)].name);
    }
    json["slots"].push_back({{"name", slot.name},
                             {"kind", KindName(slot.kind)},
                             {"fields", fields},
                             {"boundaries", slot.boundaries},
                             {"mean", slot.mean},
                             {"table", slot.table},
                             {"width", slot.width},
                             {"partial", slot.partial},
                             {"full", slot.full}});
  }
  return json;
}

StatusOr<TokenSpec> TokenSpec::FromJson(const nlohmann::json& json) {
  TokenSpec spec;
  if (!json.is_object() || !json.contains("schema") || !json.contains("slots") ||
      !json["slots"].is_array()) {
    return absl::InvalidArgumentError("token spec: expected 'schema' and a list 'slots'");
  }
  GRAB_ASSIGN_OR_RETURN(spec.schema, Schema::FromJson(json["schema"].dump()));
  for (const nlohmann::json& table : json.value("tables", nlohmann::json::array())) {
    if (!table.is_object()) return absl::InvalidArgumentError("token spec: malformed table");
    TableSpec& added = spec.tables.emplace_back();
    GRAB_ASSIGN_OR_RETURN(added.name, Get<std::string>(table, "name"));
    GRAB_ASSIGN_OR_RETURN(added.dim, Get<uint32_t>(table, "dim"));
    GRAB_ASSIGN_OR_RETURN(added.droppable, Get<bool>(table, "droppable"));
    if (added.dim == 0 || added.dim > 4096) {
      return absl::InvalidArgumentError(
          absl::StrCat("token spec: table '", added.name, "': dim must be in [1, 4096]"));
    }
  }
  for (const nlohmann::json& slot : json["slots"]) {
    GRAB_ASSIGN_OR_RETURN(TokenSlot added, SlotFromJson(slot, spec));
    spec.slots.push_back(std::move(added));
  }
  return spec;
}

uint64_t BucketKey(const std::vector<double>& boundaries, float value) {
  if (std::isnan(value)) return 0;
  const auto bucket =
      std::lower_bound(boundaries.begin(), boundaries.end(), static_cast<double>(value));
  return 1 + static_cast<uint64_t>(bucket - boundaries.begin());
}

int ActionClass(uint32_t actions, uint32_t actions_known, size_t action_count) {
  for (size_t i = 0; i < action_count; ++i) {
    if ((actions >> i) & 1u) return 1 + static_cast<int>(i);
  }
  const uint32_t all = action_count == 0 ? 0u : (~0u >> (32 - action_count));
  return (actions_known & all) == all ? 0 : static_cast<int>(action_count) + 1;
}

}  // namespace grab
