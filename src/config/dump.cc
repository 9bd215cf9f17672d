#include "config/config.h"
#include "config/setting_text.h"

namespace grab {
namespace {

// The settings of one table. A list without elements has no [[table]] to show it.
class SettingDumper {
 public:
  explicit SettingDumper(std::string& out) : out_(out) {}

  template <class T>
  void Setting(const char* key, T& member, const char*, const Constraint&) {
    absl::StrAppend(&out_, key, " = ", TomlValue(member), "\n");
  }
  template <class S>
  void Section(const char*, S&, const char*) {}
  template <class S>
  void List(const char* key, std::vector<S>& elements, const char*) {
    if (elements.empty()) absl::StrAppend(&out_, key, " = []\n");
  }

 private:
  std::string& out_;
};

// The tables below one table: TOML wants them after its settings.
class TableDumper {
 public:
  TableDumper(std::string prefix, std::string& out) : prefix_(std::move(prefix)), out_(out) {}

  template <class T>
  void Setting(const char*, T&, const char*, const Constraint&) {}
  template <class S>
  void Section(const char* key, S& section, const char*) {
    const std::string name = prefix_ + key;
    std::string settings;
    SettingDumper dumper(settings);
    section.Visit(dumper);
    if (!settings.empty()) absl::StrAppend(&out_, "\n[", name, "]\n", settings);
    TableDumper tables(name + ".", out_);
    section.Visit(tables);
  }
  template <class S>
  void List(const char* key, std::vector<S>& elements, const char*) {
    const std::string name = prefix_ + key;
    for (S& element : elements) {
      absl::StrAppend(&out_, "\n[[", name, "]]\n");
      SettingDumper dumper(out_);
      element.Visit(dumper);
      TableDumper tables(name + ".", out_);
      element.Visit(tables);
    }
  }

 private:
  std::string prefix_;
  std::string& out_;
};

}  // namespace

std::string DumpConfig(const Config& config) {
  Config visited = config;  // Visit shows members as mutable
  std::string out;
  SettingDumper settings(out);
  visited.Visit(settings);
  TableDumper tables("", out);
  visited.Visit(tables);
  return out;
}

}  // namespace grab
