// JSON files that our own commands wrote, read with errors that name the file and the key.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/status.h"

namespace grab {

// The object in the file at `path`, of at most 256 MiB. Anything else is a DataLoss.
StatusOr<nlohmann::json> ReadJsonFile(const std::string& path);

// Members of one object of a file; a missing one or one of another type is a DataLoss. `path` and
// `object` must outlive it.
class JsonMembers {
 public:
  // `prefix`: where in the file the object stands, "test." say.
  JsonMembers(const std::string& path, std::string prefix, const nlohmann::json& object)
      : path_(path), prefix_(std::move(prefix)), object_(object) {}

  StatusOr<double> Number(const char* key) const;
  // null: undefined.
  StatusOr<std::optional<double>> Metric(const char* key) const;
  StatusOr<uint64_t> Count(const char* key) const;
  StatusOr<std::string> Text(const char* key) const;
  StatusOr<uint64_t> Size(const char* key) const;  // of a list
  StatusOr<JsonMembers> Object(const char* key) const;
  // Every element is an object.
  StatusOr<std::vector<JsonMembers>> Objects(const char* key) const;
  bool Has(const char* key) const { return object_.contains(key); }

 private:
  StatusOr<const nlohmann::json*> Find(const char* key) const;
  Status WrongType(const char* key, const char* expected) const;

  const std::string& path_;
  std::string prefix_;
  const nlohmann::json& object_;
};

}  // namespace grab
