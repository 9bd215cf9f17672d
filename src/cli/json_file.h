// JSON files that grab wrote, read with errors that name the file and the member.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

// A file of one JSON object; anything else is a DataLoss.
StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

// A number, null where there is none: as Metric() below reads it.
nlohmann::json OrNull(const std::optional<double>& value);

// Members of one object of a JSON file. A member that is missing or of another type is a DataLoss
// that names the file, the member and the type expected. Refers to `object`, which must outlive it.
class JsonMembers {
 public:
  // `place` is where the object stands in the file, "" or "test." for instance.
  JsonMembers(std::string path, std::string place, const nlohmann::json& object)
      : path_(std::move(path)), place_(std::move(place)), object_(object) {}

  StatusOr<double> Number(const char* key) const;
  // nullopt for null: an undefined metric.
  StatusOr<std::optional<double>> Metric(const char* key) const;
  StatusOr<uint64_t> Count(const char* key) const;
  StatusOr<int64_t> Integer(const char* key) const;
  StatusOr<std::string> Text(const char* key) const;
  StatusOr<uint64_t> Size(const char* key) const;  // of an array
  StatusOr<std::vector<int64_t>> Integers(const char* key) const;
  StatusOr<std::vector<double>> Numbers(const char* key) const;
  StatusOr<JsonMembers> Object(const char* key) const;
  // The elements of an array of objects; their places are "key[0]." and so on.
  StatusOr<std::vector<JsonMembers>> Objects(const char* key) const;
  bool Has(const char* key) const { return object_.contains(key); }
  // The error of a member that is not as `expected`.
  Status WrongType(absl::string_view key, const char* expected) const;

 private:
  StatusOr<const nlohmann::json*> Find(const char* key) const;

  std::string path_;
  std::string place_;
  const nlohmann::json& object_;
};

}  // namespace grab
