// Every setting of a config by its key, read from the structs and not from any text of them: what
// two configs are compared by.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/settings.h"

namespace grab {

using SettingVariant = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                                    std::vector<double>, std::vector<std::string>, StringMap>;

class Flattener {
 public:
  Flattener(std::string prefix, std::map<std::string, SettingVariant>& out)
      : prefix_(std::move(prefix)), out_(out) {}

  template <class T>
  void Setting(const char* key, T& member, const char*, const Constraint&) {
    out_.emplace(prefix_ + key, member);
  }
  template <class S>
  void Section(const char* key, S& section, const char*) {
    Flattener below(prefix_ + key + ".", out_);
    section.Visit(below);
  }
  template <class S>
  void List(const char* key, std::vector<S>& list, const char*) {
    for (size_t i = 0; i < list.size(); ++i) {
      Flattener below(absl::StrCat(prefix_, key, ".", i, "."), out_);
      list[i].Visit(below);
    }
  }

 private:
  std::string prefix_;
  std::map<std::string, SettingVariant>& out_;
};

inline std::map<std::string, SettingVariant> Flatten(Config config) {
  std::map<std::string, SettingVariant> out;
  Flattener flattener("", out);
  config.Visit(flattener);
  return out;
}

}  // namespace grab
