#include "config/parse.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "config/nearest.h"
#include "config/setting_text.h"

// toml++ 3.3 asserts what malformed input can violate ("a." at a line's end) although it then goes
// on to report the error; with Clang and NDEBUG it would even let the compiler assume it. Neither
// may happen: the condition is dropped.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(condition) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace grab {
namespace {

constexpr size_t kShownBytesMax = 80;
constexpr size_t kSuggestionsMax = 8;

std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

// Text from outside in a message of one line and of bounded length.
std::string Shown(absl::string_view text) {
  std::string shown = TomlString(text.substr(0, kShownBytesMax));
  return text.size() > kShownBytesMax ? shown + "..." : shown;
}

std::string Describe(const toml::node& node) {
  if (const auto* text = node.as_string()) return absl::StrCat("text ", Shown(text->get()));
  if (const auto* whole = node.as_integer()) return absl::StrCat("whole number ", whole->get());
  if (const auto* number = node.as_floating_point()) {
    return absl::StrCat("number ", number->get());
  }
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return "a date or time";
}

// All keys, sections included, with N for the index of a list's element.
class KeyLister {
 public:
  KeyLister(std::string prefix, std::vector<std::string>& keys)
      : prefix_(std::move(prefix)), keys_(keys) {}

  template <class T>
  void Setting(const char* key, T&, const char*, const Constraint&) {
    keys_.push_back(prefix_ + key);
  }
  template <class S>
  void Section(const char* key, S& section, const char*) {
    keys_.push_back(prefix_ + key);
    KeyLister below(prefix_ + key + ".", keys_);
    section.Visit(below);
  }
  template <class S>
  void List(const char* key, std::vector<S>&, const char*) {
    S element;
    keys_.push_back(prefix_ + key);
    KeyLister below(prefix_ + key + ".N.", keys_);
    element.Visit(below);
  }

 private:
  std::string prefix_;
  std::vector<std::string>& keys_;
};

// "; did you mean ...?" for an unknown key: the nearest of its neighbours, else the keys elsewhere
// that end in the same name, those of the same section if there are any.
std::string Suggest(absl::string_view full_key, const std::vector<std::string>& neighbours) {
  const size_t dot = full_key.rfind('.');
  const absl::string_view prefix =
      dot == absl::string_view::npos ? "" : full_key.substr(0, dot + 1);
  const absl::string_view name = full_key.substr(prefix.size());
  const absl::string_view section = prefix.substr(0, prefix.find('.') + 1);
  const std::string nearest = Nearest(name, neighbours);
  if (!nearest.empty()) return DidYouMean(absl::StrCat(prefix, nearest));
  Config config;
  std::vector<std::string> keys;
  KeyLister lister("", keys);
  config.Visit(lister);
  for (const absl::string_view tail : {full_key, name}) {
    std::vector<std::string> ends, near;
    for (const std::string& key : keys) {
      if (!absl::EndsWith(key, absl::StrCat(".", tail))) continue;
      ends.push_back(key);
      if (!section.empty() && absl::StartsWith(key, section)) near.push_back(key);
    }
    if (!near.empty()) ends.swap(near);
    if (!ends.empty() && ends.size() <= kSuggestionsMax) {
      return DidYouMean(absl::StrJoin(ends, "' or '"));
    }
  }
  return absl::StrCat("; known here: ", absl::StrJoin(neighbours, ", "));
}

Status BadValue(absl::string_view place, absl::string_view key, absl::string_view expected,
                absl::string_view got, absl::string_view hint = "") {
  return absl::InvalidArgumentError(
      absl::StrCat(place, ": ", key, ": expected ", expected, ", got ", got, hint));
}

// A value's TOML node, with what messages need.
struct Value {
  const toml::node& node;
  const std::string& file;
  const std::string& override_key;  // empty: from the file
  std::string key;

  std::string Place() const {
    if (!override_key.empty()) return absl::StrCat("--set ", override_key);
    const toml::source_position at = node.source().begin;
    return absl::StrCat(file, ":", at.line, ":", at.column);
  }
  Value Below(const toml::node& child, absl::string_view name) const {
    return {child, file, override_key, absl::StrCat(key, key.empty() ? "" : ".", name)};
  }
};

template <class T>
Status WrongType(const Value& value, const Constraint& constraint) {
  const std::string range = RangeText(constraint);
  return BadValue(value.Place(), value.key,
                  absl::StrCat(TypeText<T>(), range.empty() ? "" : ", ", range),
                  Describe(value.node));
}

Status Assign(const Value& value, const Constraint&, bool& member) {
  const auto* node = value.node.as_boolean();
  if (node == nullptr) return WrongType<bool>(value, {});
  member = node->get();
  return absl::OkStatus();
}

Status Assign(const Value& value, const Constraint& constraint, int64_t& member) {
  const auto* node = value.node.as_integer();
  // Not every int64 is a double; every one is a long double where that has 64 bits of mantissa.
  static_assert(std::numeric_limits<long double>::digits >= 63);
  if (node == nullptr || static_cast<long double>(node->get()) < constraint.min ||
      static_cast<long double>(node->get()) > constraint.max) {
    return WrongType<int64_t>(value, constraint);
  }
  member = node->get();
  return absl::OkStatus();
}

Status Assign(const Value& value, const Constraint& constraint, double& member) {
  constexpr int64_t kExactMax = int64_t{1} << 53;
  double number = 0.0;
  if (const auto* floating = value.node.as_floating_point()) {
    number = floating->get();
  } else if (const auto* whole = value.node.as_integer();
             whole != nullptr && whole->get() >= -kExactMax && whole->get() <= kExactMax) {
    number = static_cast<double>(whole->get());
  } else {
    return WrongType<double>(value, constraint);
  }
  if (!std::isfinite(number) || number < constraint.min || number > constraint.max) {
    return WrongType<double>(value, constraint);
  }
  member = number;
  return absl::OkStatus();
}

Status Assign(const Value& value, const Constraint& constraint, std::string& member) {
  const auto* node = value.node.as_string();
  if (node == nullptr) return WrongType<std::string>(value, constraint);
  const std::string& text = node->get();
  if (text.find('\0') != std::string::npos) {
    return BadValue(value.Place(), value.key, "text without NUL characters", Shown(text));
  }
  const std::vector<std::string>& words = constraint.words;
  if (!words.empty() && std::find(words.begin(), words.end(), text) == words.end()) {
    return BadValue(value.Place(), value.key, RangeText(constraint), Shown(text),
                    DidYouMean(Nearest(text, words)));
  }
  member = text;
  return absl::OkStatus();
}

template <class T>
Status Assign(const Value& value, const Constraint& constraint, std::vector<T>& member) {
  const toml::array* list = value.node.as_array();
  if (list == nullptr) return WrongType<std::vector<T>>(value, constraint);
  std::vector<T> elements(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    GRAB_RETURN_IF_ERROR(
        Assign(value.Below(*list->get(i), absl::StrCat(i)), constraint, elements[i]));
  }
  member = std::move(elements);
  return absl::OkStatus();
}

Status Assign(const Value& value, const Constraint& constraint, StringMap& member) {
  const toml::table* table = value.node.as_table();
  if (table == nullptr) return WrongType<StringMap>(value, constraint);
  StringMap entries;
  for (const auto& [key, node] : *table) {
    const std::string name(key.str());
    GRAB_RETURN_IF_ERROR(Assign(value.Below(node, name), constraint, entries[name]));
  }
  member = std::move(entries);
  return absl::OkStatus();
}

template <class S>
Status AssignTable(const Value& value, S& table);

template <class S>
Status AssignList(const Value& value, std::vector<S>& list) {
  const toml::array* tables = value.node.as_array();
  if (tables == nullptr) {
    return BadValue(value.Place(), value.key, absl::StrCat("tables, [[", value.key, "]]"),
                    Describe(value.node));
  }
  std::vector<S> elements(tables->size());
  for (size_t i = 0; i < tables->size(); ++i) {
    GRAB_RETURN_IF_ERROR(AssignTable(value.Below(*tables->get(i), absl::StrCat(i)), elements[i]));
  }
  list = std::move(elements);
  return absl::OkStatus();
}

// Visitor: every setting of a struct from a table. Remembers the first error and the keys it knows.
class TableReader {
 public:
  TableReader(const Value& value, const toml::table& table) : value_(value), table_(table) {}

  template <class T>
  void Setting(const char* key, T& member, const char*, const Constraint& constraint) {
    Read(key, [&](const Value& value) { return Assign(value, constraint, member); });
  }
  template <class S>
  void Section(const char* key, S& section, const char*) {
    Read(key, [&](const Value& value) { return AssignTable(value, section); });
  }
  template <class S>
  void List(const char* key, std::vector<S>& list, const char*) {
    Read(key, [&](const Value& value) { return AssignList(value, list); });
  }

  // Unknown keys come first: a misspelt key is the likelier cause of whatever else is wrong.
  Status Result() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      const std::string full = value_.Below(node, name).key;
      const toml::source_position at = key.source().begin;
      const std::string place = value_.override_key.empty()
                                    ? absl::StrCat(value_.file, ":", at.line, ":", at.column)
                                    : value_.Place();
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": ", full, ": unknown key", Suggest(full, known_)));
    }
    return error_;
  }

 private:
  template <class Body>
  void Read(const char* key, Body body) {
    known_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return;
    const Status status = body(value_.Below(*node, key));
    if (error_.ok()) error_ = status;
  }

  const Value& value_;
  const toml::table& table_;
  std::vector<std::string> known_;
  Status error_;
};

template <class S>
Status AssignTable(const Value& value, S& table) {
  const toml::table* source = value.node.as_table();
  if (source == nullptr) {
    return BadValue(value.Place(), value.key, "a table", Describe(value.node));
  }
  TableReader reader(value, *source);
  table.Visit(reader);
  return reader.Result();
}

StatusOr<toml::table> ParseToml(absl::string_view text, absl::string_view place) {
  toml::parse_result result = toml::parse(StdView(text));
  if (!result) {
    const toml::source_position at = result.error().source().begin;
    const std::string_view detail = result.error().description();
    return absl::InvalidArgumentError(absl::StrCat(
        place, absl::StartsWith(place, "--set") ? "" : absl::StrCat(":", at.line, ":", at.column),
        ": not valid TOML: ", absl::string_view(detail.data(), detail.size())));
  }
  return std::move(result).table();
}

struct Override {
  std::string key;        // as given
  std::string canonical;  // elements by index
};

// Visitor: walks one step of an override's key and descends.
class OverrideWriter {
 public:
  // `parts` is what is left of the key; `canonical` what it has become so far.
  OverrideWriter(const Override& whole, std::vector<std::string> parts, std::string canonical,
                 const std::string& text)
      : whole_(whole), parts_(std::move(parts)), canonical_(std::move(canonical)), text_(text) {}

  template <class T>
  void Setting(const char* key, T& member, const char*, const Constraint& constraint) {
    if (!Matches(key)) return;
    if constexpr (std::is_same_v<T, StringMap>) {
      if (parts_.size() > 1) {
        const std::string name = absl::StrJoin(parts_.begin() + 1, parts_.end(), ".");
        std::string expression;
        status_ = AssignText(absl::StrCat(key, ".", name), constraint, expression);
        if (status_.ok()) member[name] = std::move(expression);
        return;
      }
    }
    if (parts_.size() > 1) {
      status_ = Error(
          absl::StrCat(canonical_, key, " is a ", TypeText<T>(), ", it has no '", parts_[1], "'"));
      return;
    }
    status_ = AssignText(key, constraint, member);
  }

  template <class S>
  void Section(const char* key, S& section, const char*) {
    if (!Matches(key)) return;
    if (parts_.size() == 1) {
      status_ = Error(absl::StrCat(canonical_, key, " is a section; set one of its settings"));
      return;
    }
    Descend(key, 1, section);
  }

  template <class S>
  void List(const char* key, std::vector<S>& list, const char*) {
    if (!Matches(key)) return;
    if (parts_.size() == 1) {
      status_ = WithNode(
          key, [&](const Value& value) { return AssignList(value, list); }, text_);
      return;
    }
    const StatusOr<size_t> index = FindElement(key, list);
    if (!index.ok()) {
      status_ = index.status();
    } else if (parts_.size() == 2) {
      status_ =
          Error(absl::StrCat(canonical_, key, ".", *index, " is a table; set one of its settings"));
    } else {
      Descend(absl::StrCat(key, ".", *index), 2, list[*index]);
    }
  }

  // The key with elements by index, or the error.
  StatusOr<std::string> Result() const {
    if (!status_.ok()) return status_;
    if (found_.empty()) {
      return Error(absl::StrCat("unknown key", Suggest(canonical_ + parts_[0], known_)));
    }
    return found_;
  }

 private:
  bool Matches(const char* key) {
    known_.push_back(key);
    if (parts_[0] != key) return false;
    found_ = canonical_ + key;
    return true;
  }

  Status Error(absl::string_view detail) const {
    return absl::InvalidArgumentError(absl::StrCat("--set ", whole_.key, ": ", detail));
  }

  template <class Body>
  Status WithNode(absl::string_view key, Body body, const std::string& toml_text) {
    const std::string place = absl::StrCat("--set ", whole_.key);
    GRAB_ASSIGN_OR_RETURN(const toml::table table,
                          ParseToml(absl::StrCat("value = ", toml_text), place));
    // A line break in the text could smuggle in a second key.
    const toml::node* node = table.get("value");
    if (node == nullptr || table.size() != 1) return Error("expected one value");
    found_ = absl::StrCat(canonical_, key);
    const std::string no_file;
    return body(Value{*node, no_file, whole_.key, found_});
  }

  template <class T>
  Status AssignText(absl::string_view key, const Constraint& constraint, T& member) {
    const bool bare = std::is_same_v<T, std::string> && !absl::StartsWith(text_, "\"") &&
                      !absl::StartsWith(text_, "'");
    return WithNode(
        key, [&](const Value& value) { return Assign(value, constraint, member); },
        bare ? TomlString(text_) : text_);
  }

  template <class S>
  void Descend(absl::string_view key, size_t parts, S& below) {
    OverrideWriter writer(whole_, {parts_.begin() + static_cast<ptrdiff_t>(parts), parts_.end()},
                          absl::StrCat(canonical_, key, "."), text_);
    below.Visit(writer);
    const StatusOr<std::string> found = writer.Result();
    status_ = found.status();
    if (found.ok()) found_ = *found;
  }

  template <class S>
  StatusOr<size_t> FindElement(const char* key, const std::vector<S>& list) const {
    size_t index = 0;
    if (absl::SimpleAtoi(parts_[1], &index)) {
      if (index < list.size()) return index;
      return Error(
          absl::StrCat(canonical_, key, " has ", list.size(), " elements, counted from 0"));
    }
    std::vector<std::string> names;
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i].name == parts_[1]) return i;
      names.push_back(list[i].name);
    }
    return Error(absl::StrCat(canonical_, key, " has no element named '", parts_[1], "'",
                              DidYouMean(Nearest(parts_[1], names))));
  }

  const Override& whole_;
  std::vector<std::string> parts_;
  std::string canonical_;
  const std::string& text_;
  std::vector<std::string> known_;
  std::string found_;
  Status status_;
};

StatusOr<Override> ApplyOverride(const std::string& key_and_value, Config& config) {
  const size_t equals = key_and_value.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", Shown(key_and_value), ": expected key=value"));
  }
  Override applied;
  applied.key = key_and_value.substr(0, equals);
  const std::string text = key_and_value.substr(equals + 1);
  OverrideWriter writer(applied, absl::StrSplit(applied.key, '.'), "", text);
  config.Visit(writer);
  GRAB_ASSIGN_OR_RETURN(applied.canonical, writer.Result());
  return applied;
}

// The place of the node that `key` leads to, or of the last one on its way that exists.
std::string PlaceInFile(const toml::table& root, const std::string& file, absl::string_view key) {
  const toml::node* node = &root;
  for (const absl::string_view part : absl::StrSplit(key, '.')) {
    const toml::node* next = nullptr;
    size_t index = 0;
    if (const toml::table* table = node->as_table()) {
      next = table->get(StdView(part));
    } else if (const toml::array* list = node->as_array();
               list != nullptr && absl::SimpleAtoi(part, &index)) {
      next = list->get(index);
    }
    if (next == nullptr) break;
    node = next;
  }
  const toml::source_position at = node->source().begin;
  return absl::StrCat(file, ":", at.line, ":", at.column);
}

bool IsInside(absl::string_view key, absl::string_view outer) {
  return key == outer || absl::StartsWith(key, absl::StrCat(outer, "."));
}

}  // namespace

StatusOr<ParsedConfig> ParseSettings(absl::string_view toml, const std::string& file,
                                     const std::vector<std::string>& overrides) {
  GRAB_ASSIGN_OR_RETURN(toml::table parsed, ParseToml(toml, file));
  const auto root = std::make_shared<const toml::table>(std::move(parsed));
  ParsedConfig result;
  const std::string from_file;
  GRAB_RETURN_IF_ERROR(AssignTable(Value{*root, file, from_file, ""}, result.config));
  std::vector<Override> applied;
  for (const std::string& text : overrides) {
    GRAB_ASSIGN_OR_RETURN(Override one, ApplyOverride(text, result.config));
    applied.push_back(std::move(one));
  }
  result.place = [root, file, applied](absl::string_view key) {
    for (auto it = applied.rbegin(); it != applied.rend(); ++it) {
      if (IsInside(key, it->canonical)) return absl::StrCat("--set ", it->key);
    }
    return PlaceInFile(*root, file, key);
  };
  return result;
}

}  // namespace grab
