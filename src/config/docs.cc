#include <map>
#include <typeindex>

#include "absl/strings/str_replace.h"
#include "config/config.h"
#include "config/setting_text.h"

namespace grab {
namespace {

constexpr char kIntroduction[] =
    R"(# Settings

This page is written by `grab config docs` from the declarations in `src/config`; a test keeps it in step.

A config is one TOML file. What it does not name keeps its default. `--set key=value` overrides a setting from the
command line; elements of a list of tables are named by index from 0 or by their `name`:

    grab run --config configs/simulator.toml --out runs/demo \
      --set grab.train.seed=3 --set field.ad_id.dim=8 --set grab.model.head_hidden='[64, 32]'

An unknown key, a wrong type or a value out of range is an error that names the place. `grab config check --config FILE`
looks for errors, `grab config dump --config FILE` shows the effective settings.
)";

std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

// Rows of one table's settings.
class RowWriter {
 public:
  explicit RowWriter(std::string& out) : out_(out) {}

  template <class T>
  void Setting(const char* key, T& member, const char* help, const Constraint& constraint) {
    const std::string range = RangeText(constraint);
    absl::StrAppend(&out_, "| `", key, "` | ", TypeText<T>(), range.empty() ? "" : ": ",
                    Cell(range), " | `", Cell(TomlValue(member)), "` | ", Cell(help), " |\n");
  }
  template <class S>
  void Section(const char*, S&, const char*) {}
  template <class S>
  void List(const char*, std::vector<S>&, const char*) {}

 private:
  std::string& out_;
};

// A heading and a table of settings per struct; a struct met again refers to its first place.
class PageWriter {
 public:
  PageWriter(std::string prefix, std::map<std::type_index, std::string>& written, std::string& out)
      : prefix_(std::move(prefix)), written_(written), out_(out) {}

  template <class T>
  void Setting(const char*, T&, const char*, const Constraint&) {}
  template <class S>
  void Section(const char* key, S& section, const char* help) {
    WriteTable(prefix_ + key, absl::StrCat("[", prefix_, key, "]"), help, section);
  }
  template <class S>
  void List(const char* key, std::vector<S>&, const char* help) {
    S element;
    WriteTable(prefix_ + key, absl::StrCat("[[", prefix_, key, "]]"), help, element);
  }

 private:
  template <class S>
  void WriteTable(const std::string& name, const std::string& header, const char* help, S& table) {
    const auto [place, is_new] = written_.emplace(typeid(S), header);
    absl::StrAppend(&out_, "\n## `", header, "`\n\n", help, "\n");
    if (!is_new) {
      absl::StrAppend(&out_, "\nThe same settings as `", place->second, "`.\n");
      return;
    }
    std::string rows;
    RowWriter writer(rows);
    table.Visit(writer);
    if (!rows.empty()) {
      absl::StrAppend(&out_, "\n| key | type | default | meaning |\n|---|---|---|---|\n", rows);
    }
    PageWriter below(name + ".", written_, out_);
    table.Visit(below);
  }

  std::string prefix_;
  std::map<std::type_index, std::string>& written_;
  std::string& out_;
};

}  // namespace

std::string ConfigDocs() {
  Config config;
  std::string out = kIntroduction;
  absl::StrAppend(&out,
                  "\n## Top level\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
  RowWriter rows(out);
  config.Visit(rows);
  std::map<std::type_index, std::string> written;
  PageWriter tables("", written, out);
  config.Visit(tables);
  return out;
}

}  // namespace grab
