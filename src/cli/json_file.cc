#include "cli/json_file.h"

#include "base/file.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr uint64_t kJsonBytesMax = 256 << 20;

}  // namespace

StatusOr<json> ReadJsonFile(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  json object = json::parse(text, nullptr, false);
  if (!object.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": expected a JSON object"));
  }
  return object;
}

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

StatusOr<std::string> JsonMembers::Text(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_string()) return WrongType(key, "text");
  return value->get<std::string>();
}

StatusOr<uint64_t> JsonMembers::Size(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_array()) return WrongType(key, "a list");
  return value->size();
}

StatusOr<JsonMembers> JsonMembers::Object(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_object()) return WrongType(key, "an object");
  return JsonMembers(path_, prefix_ + key + ".", *value);
}

StatusOr<std::vector<JsonMembers>> JsonMembers::Objects(const char* key) const {
  GRAB_ASSIGN_OR_RETURN(const json* value, Find(key));
  if (!value->is_array()) return WrongType(key, "a list of objects");
  std::vector<JsonMembers> objects;
  for (const json& element : *value) {
    if (!element.is_object()) return WrongType(key, "a list of objects");
    objects.emplace_back(path_, absl::StrCat(prefix_, key, "[", objects.size(), "]."), element);
  }
  return objects;
}

StatusOr<const json*> JsonMembers::Find(const char* key) const {
  const auto found = object_.find(key);
  if (found != object_.end()) return &*found;
  return absl::DataLossError(absl::StrCat(path_, ": '", prefix_, key, "' is missing"));
}

Status JsonMembers::WrongType(const char* key, const char* expected) const {
  return absl::DataLossError(absl::StrCat(path_, ": '", prefix_, key, "': expected ", expected));
}

}  // namespace grab
