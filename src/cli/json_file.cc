#include "cli/json_file.h"

#include "base/file.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr uint64_t kJsonBytesMax = 256 << 20;

}  // namespace

StatusOr<json> ReadJsonObject(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  json object = json::parse(text, nullptr, false);
  if (!object.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": expected a JSON object"));
  }
  return object;
}

json OrNull(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

StatusOr<double> JsonMembers::Number(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_number()) return WrongType(key, "a number");
  return value->get<double>();
}

StatusOr<std::optional<double>> JsonMembers::Metric(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (value->is_null()) return std::optional<double>();
  if (!value->is_number()) return WrongType(key, "a number or null");
  return std::optional<double>(value->get<double>());
}

StatusOr<uint64_t> JsonMembers::Count(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_number_unsigned()) return WrongType(key, "a count");
  return value->get<uint64_t>();
}

StatusOr<int64_t> JsonMembers::Integer(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_number_integer()) return WrongType(key, "a whole number");
  return value->get<int64_t>();
}

StatusOr<std::string> JsonMembers::Text(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_string()) return WrongType(key, "text");
  return value->get<std::string>();
}

StatusOr<uint64_t> JsonMembers::Size(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_array()) return WrongType(key, "an array");
  return value->size();
}

StatusOr<std::vector<int64_t>> JsonMembers::Integers(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  std::vector<int64_t> integers;
  if (!value->is_array()) return WrongType(key, "an array of whole numbers");
  for (const json& element : *value) {
    if (!element.is_number_integer()) return WrongType(key, "an array of whole numbers");
    integers.push_back(element.get<int64_t>());
  }
  return integers;
}

StatusOr<std::vector<double>> JsonMembers::Numbers(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  std::vector<double> numbers;
  if (!value->is_array()) return WrongType(key, "an array of numbers");
  for (const json& element : *value) {
    if (!element.is_number()) return WrongType(key, "an array of numbers");
    numbers.push_back(element.get<double>());
  }
  return numbers;
}

StatusOr<JsonMembers> JsonMembers::Object(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_object()) return WrongType(key, "an object");
  return JsonMembers(path_, place_ + key + ".", *value);
}

StatusOr<std::vector<JsonMembers>> JsonMembers::Objects(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_array()) return WrongType(key, "an array");
  std::vector<JsonMembers> elements;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string name = absl::StrCat(key, "[", i, "]");
    if (!(*value)[i].is_object()) return WrongType(name, "an object");
    elements.emplace_back(path_, absl::StrCat(place_, name, "."), (*value)[i]);
  }
  return elements;
}

StatusOr<const json*> JsonMembers::Find(const char* key) const {
  const auto found = object_.find(key);
  if (found != object_.end()) return &*found;
  return absl::DataLossError(absl::StrCat(path_, ": '", place_, key, "' is missing"));
}

Status JsonMembers::WrongType(absl::string_view key, const char* expected) const {
  return absl::DataLossError(absl::StrCat(path_, ": '", place_, key, "': expected ", expected));
}

}  // namespace grab
