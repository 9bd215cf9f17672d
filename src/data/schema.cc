#include "data/schema.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr size_t kNameBytesMax = 200;
constexpr uint32_t kWidthMax = 65536;
constexpr const char* kKindNames[] = {"id", "ids", "number", "dense"};

Status CheckNames(const std::vector<std::string>& names, absl::string_view what, size_t count_max) {
  if (names.size() > count_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("schema: at most ", count_max, " ", what, "s, got ", names.size()));
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > kNameBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("schema: the name of a ", what, " needs 1 to ",
                                                     kNameBytesMax, " bytes, got ", name.size()));
    }
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("schema: two ", what, "s are named '", name, "'"));
    }
  }
  return absl::OkStatus();
}

Status CheckSchema(const Schema& schema) {
  std::vector<std::string> names;
  for (const FieldSchema& field : schema.fields) {
    names.push_back(field.name);
    const bool dense = field.kind == FieldKind::kDense;
    if (dense != (field.width != 0) || field.width > kWidthMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("schema: field '", field.name, "': a dense field needs a width of 1 to ",
                       kWidthMax, ", others none; got ", field.width));
    }
    if (field.weighted && field.kind != FieldKind::kIds) {
      return absl::InvalidArgumentError(absl::StrCat(
          "schema: field '", field.name, "': only a field of kind ids can have weights"));
    }
  }
  GRAB_RETURN_IF_ERROR(CheckNames(names, "field", kFieldsMax));
  GRAB_RETURN_IF_ERROR(CheckNames(schema.actions, "action", kActionsMax));
  return CheckNames(schema.tasks, "task", kTasksMax);
}

StatusOr<FieldKind> ParseKind(const std::string& text, const std::string& field) {
  for (size_t kind = 0; kind < std::size(kKindNames); ++kind) {
    if (text == kKindNames[kind]) return static_cast<FieldKind>(kind);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "schema: field '", field, "': kind should be id, ids, number or dense, got '", text, "'"));
}

StatusOr<std::vector<std::string>> ParseNames(const json& object, const char* key) {
  std::vector<std::string> names;
  const auto list = object.find(key);
  if (list == object.end() || !list->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat("schema: '", key, "' should be a list"));
  }
  for (const json& name : *list) {
    if (!name.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("schema: '", key, "' should hold strings"));
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

StatusOr<FieldSchema> ParseField(const json& object) {
  const auto is = [&](const char* key, bool (json::*type)() const noexcept) {
    const auto found = object.find(key);
    return found != object.end() && ((*found).*type)();
  };
  if (!object.is_object() || !is("name", &json::is_string) || !is("kind", &json::is_string) ||
      !is("weighted", &json::is_boolean) || !is("width", &json::is_number_unsigned)) {
    return absl::InvalidArgumentError(
        "schema: a field should be {name, kind: string, weighted: bool, width: number >= 0}");
  }
  FieldSchema field;
  field.name = object["name"].get<std::string>();
  GRAB_ASSIGN_OR_RETURN(field.kind, ParseKind(object["kind"].get<std::string>(), field.name));
  field.weighted = object["weighted"].get<bool>();
  const uint64_t width = object["width"].get<uint64_t>();
  if (width > kWidthMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("schema: field '", field.name, "': width ", width, " > ", kWidthMax));
  }
  field.width = static_cast<uint32_t>(width);
  return field;
}

}  // namespace

int Schema::FieldIndex(const std::string& name) const {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

StatusOr<Schema> Schema::FromConfig(const Config& config) {
  Schema schema;
  for (const FieldConfig& field : config.fields) {
    if (field.kind == "cross") continue;
    GRAB_ASSIGN_OR_RETURN(const FieldKind kind, ParseKind(field.kind, field.name));
    schema.fields.push_back(
        {field.name, kind, !field.weights.empty(), static_cast<uint32_t>(field.width)});
  }
  for (const ActionConfig& action : config.actions) schema.actions.push_back(action.name);
  for (const TaskConfig& task : config.tasks) schema.tasks.push_back(task.name);
  GRAB_RETURN_IF_ERROR(CheckSchema(schema));
  return schema;
}

std::string Schema::ToJson() const {
  json fields_json = json::array();
  for (const FieldSchema& field : fields) {
    fields_json.push_back({{"name", field.name},
                           {"kind", kKindNames[static_cast<size_t>(field.kind)]},
                           {"weighted", field.weighted},
                           {"width", field.width}});
  }
  const json object = {{"fields", fields_json}, {"actions", actions}, {"tasks", tasks}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

StatusOr<Schema> Schema::FromJson(const std::string& text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return absl::InvalidArgumentError("schema: not a JSON object");
  Schema schema;
  GRAB_ASSIGN_OR_RETURN(schema.actions, ParseNames(object, "actions"));
  GRAB_ASSIGN_OR_RETURN(schema.tasks, ParseNames(object, "tasks"));
  const auto fields = object.find("fields");
  if (fields == object.end() || !fields->is_array()) {
    return absl::InvalidArgumentError("schema: 'fields' should be a list");
  }
  for (const json& field : *fields) {
    GRAB_ASSIGN_OR_RETURN(FieldSchema parsed, ParseField(field));
    schema.fields.push_back(std::move(parsed));
  }
  GRAB_RETURN_IF_ERROR(CheckSchema(schema));
  return schema;
}

}  // namespace grab
