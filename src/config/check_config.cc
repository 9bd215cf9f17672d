#include "config/check_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/config.h"
#include "config/nearest.h"

namespace grab {
namespace {

using Problem = std::optional<ConfigProblem>;

constexpr size_t kNameBytesMax = 200;

#define GRAB_RETURN_IF_PROBLEM(expression)                                      \
  do {                                                                          \
    if (Problem problem_ = (expression); problem_.has_value()) return problem_; \
  } while (false)

Problem At(std::string key, std::string detail) {
  return ConfigProblem{std::move(key), std::move(detail)};
}

template <class S>
std::vector<std::string> NamesOf(const std::vector<S>& list) {
  std::vector<std::string> names;
  for (const S& element : list) names.push_back(element.name);
  return names;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Problem CheckKnown(const std::string& key, const std::string& name, absl::string_view what,
                   const std::vector<std::string>& known) {
  if (Contains(known, name)) return std::nullopt;
  return At(key,
            absl::StrCat("there is no ", what, " '", name, "'", DidYouMean(Nearest(name, known))));
}

// Names stand in --set keys, SQL, CSV headers and tensor names.
bool IsName(const std::string& name) {
  const auto is_word = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kNameBytesMax &&
         (absl::ascii_isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_') &&
         std::all_of(name.begin(), name.end(), is_word);
}

template <class S>
Problem CheckNames(const std::string& key, const std::vector<S>& list, size_t count_max) {
  if (list.size() > count_max) {
    return At(key, absl::StrCat("at most ", count_max, ", got ", list.size()));
  }
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& name = list[i].name;
    const std::string name_key = absl::StrCat(key, ".", i, ".name");
    if (!IsName(name)) {
      return At(name_key, absl::StrCat("expected a letter or _, then letters, digits, _ and -, at "
                                       "most ",
                                       kNameBytesMax, "; got '", name.substr(0, 80), "'"));
    }
    if (!seen.insert(name).second) {
      return At(name_key, absl::StrCat("there are two named '", name, "'"));
    }
  }
  return std::nullopt;
}

Problem CheckExpressions(const std::string& key, const StringMap& expressions,
                         absl::string_view what, const std::vector<std::string>& known) {
  for (const auto& [name, expression] : expressions) {
    const std::string full = absl::StrCat(key, ".", name);
    GRAB_RETURN_IF_PROBLEM(CheckKnown(full, name, what, known));
    if (expression.empty()) return At(full, "is empty; NULL stands for missing");
  }
  return std::nullopt;
}

Problem CheckEvents(const Config& config) {
  GRAB_RETURN_IF_PROBLEM(CheckNames("events", config.events, config.events.size()));
  std::vector<std::string> stored;
  for (const FieldConfig& field : config.fields) {
    if (field.kind != "cross") stored.push_back(field.name);
  }
  for (size_t i = 0; i < config.events.size(); ++i) {
    const EventsConfig& events = config.events[i];
    const std::string key = absl::StrCat("events.", i, ".");
    for (const auto& [name, value] : {std::pair{"from", &events.from},
                                      {"user", &events.user},
                                      {"request_time_ms", &events.request_time_ms}}) {
      if (value->empty()) return At(key + name, "is missing");
    }
    GRAB_RETURN_IF_PROBLEM(CheckExpressions(key + "fields", events.fields, "stored field", stored));
    GRAB_RETURN_IF_PROBLEM(
        CheckExpressions(key + "actions", events.actions, "action", NamesOf(config.actions)));
    GRAB_RETURN_IF_PROBLEM(
        CheckExpressions(key + "labels", events.labels, "task", NamesOf(config.tasks)));
  }
  return std::nullopt;
}

// A setting that another kind of field would ignore is a misunderstanding.
Problem CheckKindSettings(const std::string& key, const FieldConfig& field) {
  struct Rule {
    const char* name;
    bool given;
    bool applies;
    bool required;
  };
  const bool dense = field.kind == "dense";
  const bool cross = field.kind == "cross";
  const bool number = field.kind == "number";
  const Rule rules[] = {
      {"expr", !field.expr.empty(), !cross, false},
      {"weights", !field.weights.empty(), field.kind == "ids", false},
      {"table", !field.table.empty(), !dense, false},
      {"dim", field.dim != 0, !dense, false},
      {"width", field.width != 0, dense, dense},
      {"boundaries", !field.boundaries.empty(), number, number},
      {"of", !field.of.empty(), cross, cross},
  };
  for (const Rule& rule : rules) {
    if (rule.given && !rule.applies) {
      return At(key + rule.name,
                absl::StrCat("does not apply to kind = \"", field.kind, "\" ('", field.name, "')"));
    }
    if (rule.required && !rule.given) {
      return At(key + rule.name,
                absl::StrCat("is needed by kind = \"", field.kind, "\" ('", field.name, "')"));
    }
  }
  return std::nullopt;
}

Problem CheckAscending(const std::string& key, const std::vector<double>& values) {
  for (size_t i = 1; i < values.size(); ++i) {
    if (!(values[i - 1] < values[i])) {
      return At(absl::StrCat(key, ".", i),
                absl::StrCat("should ascend strictly, got ", values[i], " after ", values[i - 1]));
    }
  }
  return std::nullopt;
}

// Names of fields with one value per event, the only ones that can be crossed or sliced by.
std::vector<std::string> SingleValued(const Config& config) {
  std::vector<std::string> names;
  for (const FieldConfig& field : config.fields) {
    if (field.kind == "id" || field.kind == "number") names.push_back(field.name);
  }
  return names;
}

const FieldConfig& FieldNamed(const Config& config, const std::string& name) {
  return *std::find_if(config.fields.begin(), config.fields.end(),
                       [&](const FieldConfig& field) { return field.name == name; });
}

Problem CheckCross(const Config& config, const std::string& key, const FieldConfig& field) {
  constexpr size_t kPartsMin = 2;
  if (field.of.size() < kPartsMin) {
    return At(key + "of", absl::StrCat("needs two or more fields, got ", field.of.size()));
  }
  std::set<std::string> seen;
  for (size_t i = 0; i < field.of.size(); ++i) {
    const std::string part_key = absl::StrCat(key, "of.", i);
    GRAB_RETURN_IF_PROBLEM(
        CheckKnown(part_key, field.of[i], "id or number field", SingleValued(config)));
    if (!seen.insert(field.of[i]).second) {
      return At(part_key, absl::StrCat("names '", field.of[i], "' twice"));
    }
    if (FieldNamed(config, field.of[i]).role == "behaviour" && field.InFullToken()) {
      return At(part_key, absl::StrCat("'", field.of[i],
                                       "' is a behaviour field: in a full token the cross would "
                                       "leak the label; give it role = \"behaviour\""));
    }
  }
  return std::nullopt;
}

// Fields that share an embedding table: the same `table`, or one that is another field's name.
Problem CheckTables(const Config& config) {
  for (size_t i = 0; i < config.fields.size(); ++i) {
    const FieldConfig& field = config.fields[i];
    if (field.kind == "dense") continue;
    const auto table_of = [](const FieldConfig& f) { return f.table.empty() ? f.name : f.table; };
    const std::string key = absl::StrCat("field.", i, ".");
    if (!field.table.empty() && !IsName(field.table)) {
      return At(key + "table",
                absl::StrCat("expected a name, got '", field.table.substr(0, 80), "'"));
    }
    for (size_t j = 0; j < i; ++j) {
      const FieldConfig& other = config.fields[j];
      if (other.kind == "dense" || table_of(other) != table_of(field)) continue;
      if (other.dim != field.dim) {
        return At(key + "dim",
                  absl::StrCat("'", field.name, "' and '", other.name, "' share the table '",
                               table_of(field), "' and need equal dims, got ", field.dim, " and ",
                               other.dim));
      }
      if ((other.kind == "number") != (field.kind == "number")) {
        return At(key + "table",
                  absl::StrCat("'", table_of(field), "' cannot hold both ids ('",
                               (field.kind == "number" ? other : field).name, "') and buckets ('",
                               (field.kind == "number" ? field : other).name, "')"));
      }
      break;  // equal to one of those that share is equal to all
    }
  }
  return std::nullopt;
}

Problem CheckFields(const Config& config) {
  GRAB_RETURN_IF_PROBLEM(CheckNames("field", config.fields, kFieldsMax));
  for (size_t i = 0; i < config.fields.size(); ++i) {
    const FieldConfig& field = config.fields[i];
    const std::string key = absl::StrCat("field.", i, ".");
    GRAB_RETURN_IF_PROBLEM(CheckKindSettings(key, field));
    GRAB_RETURN_IF_PROBLEM(CheckAscending(key + "boundaries", field.boundaries));
    if (field.kind == "cross") GRAB_RETURN_IF_PROBLEM(CheckCross(config, key, field));
    if (field.role == "behaviour" && field.full == "yes") {
      return At(key + "full", absl::StrCat("'", field.name,
                                           "' is a behaviour field: known with the feedback, it "
                                           "would leak the label into the full token"));
    }
  }
  return CheckTables(config);
}

// Without white space and case, which mean nothing outside of quotes; empty for what names no
// column, so that NULL for a field equals no NULL for a label.
std::string Comparable(const std::string& expression) {
  std::string text = absl::AsciiStrToLower(expression);
  text.erase(std::remove_if(text.begin(), text.end(), absl::ascii_isspace), text.end());
  const bool constant = text == "true" || text == "false" || text.rfind("null", 0) == 0;
  return constant ? "" : text;
}

// What [[events]] `overrides` say of `name`, else the config's expression.
std::string Effective(const StringMap& overrides, const std::string& name,
                      const std::string& expression) {
  const auto found = overrides.find(name);
  return Comparable(found != overrides.end() ? found->second : expression);
}

// Expressions of labels and actions of these events, each with what it is in words.
std::map<std::string, std::string> Feedback(const Config& config, const EventsConfig& events) {
  std::map<std::string, std::string> feedback;
  for (const TaskConfig& task : config.tasks) {
    feedback[Effective(events.labels, task.name, task.label)] = "label of task '" + task.name + "'";
  }
  for (const ActionConfig& action : config.actions) {
    const std::string& expression = action.expr.empty() ? action.name : action.expr;
    feedback[Effective(events.actions, action.name, expression)] = "action '" + action.name + "'";
  }
  feedback.erase("");
  return feedback;
}

bool InFullTokens(const Config& config, const FieldConfig& field) {
  return field.InFullToken() ||
         std::any_of(config.fields.begin(), config.fields.end(), [&](const FieldConfig& cross) {
           return cross.kind == "cross" && cross.InFullToken() && Contains(cross.of, field.name);
         });
}

// A candidate must not carry its own answer. What SQL hides is left to the checks of `grab
// compare`.
Problem CheckAnswers(const Config& config) {
  for (size_t e = 0; e < config.events.size(); ++e) {
    const EventsConfig& events = config.events[e];
    const std::map<std::string, std::string> feedback = Feedback(config, events);
    for (size_t f = 0; f < config.fields.size(); ++f) {
      const FieldConfig& field = config.fields[f];
      if (field.kind == "cross" || !InFullTokens(config, field)) continue;
      const std::string& expression = field.expr.empty() ? field.name : field.expr;
      const auto found = feedback.find(Effective(events.fields, field.name, expression));
      if (found == feedback.end()) continue;
      return At(
          absl::StrCat("field.", f, ".expr"),
          absl::StrCat("in events '", events.name, "' '", field.name, "' is the ", found->second,
                       ": in a full token it would leak; give it role = \"behaviour\""));
    }
  }
  return std::nullopt;
}

// The first task is the one that models are judged by, and the others keep their places where the
// auxiliary ones are left out.
Problem CheckAuxiliary(const std::vector<TaskConfig>& tasks) {
  for (size_t t = 0; t < tasks.size(); ++t) {
    const bool last = t + 1 == tasks.size() || tasks[t + 1].auxiliary;
    if (!tasks[t].auxiliary || (t > 0 && last)) continue;
    return At(
        absl::StrCat("task.", t, ".auxiliary"),
        absl::StrCat("is true; auxiliary tasks come after all others, of which there is at "
                     "least one, but '",
                     tasks[t].name, "' is ",
                     t == 0 ? "the first" : absl::StrCat("before '", tasks[t + 1].name, "'")));
  }
  return std::nullopt;
}

Problem CheckLabels(const Config& config) {
  GRAB_RETURN_IF_PROBLEM(CheckNames("action", config.actions, kActionsMax));
  GRAB_RETURN_IF_PROBLEM(CheckNames("task", config.tasks, kTasksMax));
  GRAB_RETURN_IF_PROBLEM(CheckAuxiliary(config.tasks));
  if (!config.events.empty() && config.fields.empty()) {
    return At("field", "events need at least one [[field]]");
  }
  return std::nullopt;
}

// Without any split all events are history: a log of positives only has no targets and no task.
Problem CheckSplit(const Config& config) {
  const SplitConfig& split = config.split;
  const std::pair<const char*, const std::string*> times[] = {
      {"split.train_from", &split.train_from},
      {"split.valid_from", &split.valid_from},
      {"split.test_from", &split.test_from},
      {"split.end", &split.end}};
  const bool by_time =
      std::any_of(std::begin(times), std::end(times), [](auto t) { return !t.second->empty(); });
  const bool by_expression =
      std::any_of(config.events.begin(), config.events.end(),
                  [](const EventsConfig& events) { return !events.split.empty(); });
  const bool has_targets = !config.events.empty() && (by_time || by_expression);
  if (has_targets && config.tasks.empty()) {
    return At("task", "scoring targets (a split) need at least one [[task]]");
  }
  if (!by_time) return std::nullopt;
  std::optional<int64_t> last_ms;
  for (const auto& [key, text] : times) {
    if (text->empty()) return At(key, "is missing; [split] needs all four times");
    const StatusOr<int64_t> time_ms = ParseTimeMs(*text);
    if (!time_ms.ok()) return At(key, std::string(time_ms.status().message()));
    if (last_ms.has_value() && *time_ms < *last_ms) {
      return At(key, absl::StrCat("'", *text, "' is before the time that precedes it"));
    }
    last_ms = *time_ms;
  }
  return std::nullopt;
}

Problem CheckFollow(const Config& config) {
  if (config.follow.from.empty()) return std::nullopt;
  const StatusOr<int64_t> from_ms = ParseTimeMs(config.follow.from);
  if (!from_ms.ok()) return At("follow.from", std::string(from_ms.status().message()));
  if (config.tasks.empty()) return At("task", "follow.from needs at least one [[task]]");
  for (size_t i = 0; i < config.events.size(); ++i) {
    if (config.events[i].event_id.empty()) {
      return At(absl::StrCat("events.", i, ".event_id"),
                "is needed by follow.from: in a log that grows, a position is no identity");
    }
  }
  return std::nullopt;
}

// Tables of the model: those of the fields, and that of the feedback bits.
std::vector<std::string> TableNames(const Config& config) {
  std::vector<std::string> names;
  for (const FieldConfig& field : config.fields) {
    if (field.kind != "dense") names.push_back(field.table.empty() ? field.name : field.table);
  }
  if (!config.actions.empty()) names.push_back("@actions");
  return names;
}

// What a table's budget has to hold depends on its rows: whoever makes them checks it.
Problem CheckTableSettings(const Config& config, const std::string& key,
                           const std::vector<TableConfig>& tables) {
  std::set<std::string> seen;
  for (size_t i = 0; i < tables.size(); ++i) {
    const TableConfig& table = tables[i];
    const std::string at = absl::StrCat(key, ".", i, ".");
    GRAB_RETURN_IF_PROBLEM(
        CheckKnown(at + "name", table.name, "embedding table", TableNames(config)));
    if (!seen.insert(table.name).second) {
      return At(at + "name", absl::StrCat("there are two named '", table.name, "'"));
    }
    if (table.frequency_min == 0.0) continue;
    if (table.frequency_half_life_s == 0.0) {
      return At(at + "frequency_half_life_s",
                "is needed by frequency_min: occurrences that do not decay never fall below it");
    }
    if (table.frequency_min >= static_cast<double>(table.admission_count)) {
      return At(
          at + "frequency_min",
          absl::StrCat("expected less than admission_count = ", table.admission_count, ", got ",
                       table.frequency_min, ": a row would be evicted as soon as it is admitted"));
    }
  }
  return std::nullopt;
}

Problem CheckTrain(const Config& config, const std::string& key, const TrainConfig& train) {
  GRAB_RETURN_IF_PROBLEM(CheckTableSettings(config, key + ".table", train.tables));
  for (const auto& [name, text] : {std::pair{".from", &train.from}, {".until", &train.until}}) {
    if (text->empty()) continue;
    const StatusOr<int64_t> time_ms = ParseTimeMs(*text);
    if (!time_ms.ok()) return At(key + name, std::string(time_ms.status().message()));
  }
  if (train.streaming.slice_s > 0.0 && !config.tasks.empty() && config.tasks[0].delay_s > 0) {
    return At(key + ".streaming.slice_s",
              absl::StrCat("a slice would be trained before the labels of the main task, '",
                           config.tasks[0].name, "', are final (its delay_s is ",
                           config.tasks[0].delay_s, "); expected 0"));
  }
  if (train.window_train <= train.window_size) return std::nullopt;
  return At(key + ".window_train", absl::StrCat("expected at most window_size = ",
                                                train.window_size, ", got ", train.window_train));
}

// A model without history has no stages, no base model and no next item.
Problem CheckDlrm(const Config& config) {
  const TrainConfig& train = config.dlrm.train;
  GRAB_RETURN_IF_PROBLEM(CheckTrain(config, "dlrm.train", train));
  if (train.mode != "end_to_end") {
    return At("dlrm.train.mode", "DLRM trains in one stage and needs \"end_to_end\"");
  }
  if (train.objective != "labels") {
    return At("dlrm.train.objective", "DLRM has no history to predict and needs \"labels\"");
  }
  if (train.dual_loss.weight > 0.0) {
    return At("dlrm.train.dual_loss.weight", "DLRM is the base model itself and needs 0");
  }
  if (train.recency_prior > 0.0) {
    return At("dlrm.train.recency_prior", "DLRM has no history and needs 0");
  }
  return std::nullopt;
}

Problem CheckFieldOfKind(const Config& config, const std::string& key, const std::string& name,
                         const std::string& kind) {
  std::vector<std::string> known;
  for (const FieldConfig& field : config.fields) {
    if (field.kind == kind) known.push_back(field.name);
  }
  return CheckKnown(key, name, absl::StrCat(kind, " field"), known);
}

Problem CheckObjective(const Config& config, const std::string& key, const TrainConfig& train) {
  if (!train.pairwise.value_field.empty()) {
    GRAB_RETURN_IF_PROBLEM(CheckFieldOfKind(config, key + ".pairwise.value_field",
                                            train.pairwise.value_field, "number"));
  }
  if (train.objective != "next_item") return std::nullopt;
  if (key != "grab.train") {
    return At(key + ".objective", "only GRAB can be trained on the next item, expected \"labels\"");
  }
  if (train.mode != "end_to_end") {
    return At(key + ".mode", "the next_item objective needs \"end_to_end\"");
  }
  return CheckFieldOfKind(config, key + ".next_item.field", train.next_item.field, "id");
}

// A model that reads a user's history.
Problem CheckSequenceModel(const Config& config, const std::string& name,
                           const ModelRunConfig& run) {
  const ModelConfig& model = run.model;
  if (model.d_model % model.heads != 0) {
    return At(name + ".model.heads",
              absl::StrCat("should divide d_model = ", model.d_model, ", got ", model.heads));
  }
  const std::string channel_key = name + ".model.channel";
  const size_t channels_max = name == "grab" ? model.channels.size() : 1;
  GRAB_RETURN_IF_PROBLEM(CheckNames(channel_key, model.channels, channels_max));
  for (size_t c = 0; c < model.channels.size(); ++c) {
    const std::vector<std::string>& actions = model.channels[c].actions;
    for (size_t i = 0; i < actions.size(); ++i) {
      GRAB_RETURN_IF_PROBLEM(CheckKnown(absl::StrCat(channel_key, ".", c, ".actions.", i),
                                        actions[i], "action", NamesOf(config.actions)));
    }
  }
  if (!model.search.field.empty()) {
    GRAB_RETURN_IF_PROBLEM(
        CheckFieldOfKind(config, name + ".model.search.field", model.search.field, "id"));
  }
  GRAB_RETURN_IF_PROBLEM(CheckTrain(config, name + ".train", run.train));
  if (run.train.batch != "packed") {
    return At(name + ".train.batch", "the model reads a user's history and needs \"packed\"");
  }
  if (run.train.recency_prior > 0.0 && name != "grab") {
    return At(name + ".train.recency_prior", "only GRAB's attention has it, expected 0");
  }
  return CheckObjective(config, name + ".train", run.train);
}

Problem CheckTrees(const Config& config) {
  const std::vector<std::string>& actions = config.trees.actions;
  for (size_t i = 0; i < actions.size(); ++i) {
    const std::string key = absl::StrCat("trees.actions.", i);
    GRAB_RETURN_IF_PROBLEM(CheckKnown(key, actions[i], "action", NamesOf(config.actions)));
    if (std::count(actions.begin(), actions.end(), actions[i]) > 1) {
      return At(key, absl::StrCat("names '", actions[i], "' twice"));
    }
  }
  return std::nullopt;
}

Problem CheckEval(const Config& config) {
  const std::vector<std::string>& slices = config.eval.slices;
  for (size_t i = 0; i < slices.size(); ++i) {
    const std::string key = absl::StrCat("eval.slices.", i);
    GRAB_RETURN_IF_PROBLEM(CheckKnown(key, slices[i], "id or number field", SingleValued(config)));
    if (std::count(slices.begin(), slices.end(), slices[i]) > 1) {
      return At(key, absl::StrCat("names '", slices[i], "' twice"));
    }
  }
  if (!config.eval.item.empty()) {
    GRAB_RETURN_IF_PROBLEM(CheckFieldOfKind(config, "eval.item", config.eval.item, "id"));
  }
  const std::vector<int64_t>& edges = config.eval.history_edges;
  for (size_t i = 1; i < edges.size(); ++i) {
    if (edges[i - 1] >= edges[i]) {
      return At(absl::StrCat("eval.history_edges.", i),
                absl::StrCat("should ascend strictly, got ", edges[i], " after ", edges[i - 1]));
    }
  }
  return std::nullopt;
}

Problem CheckSources(const Config& config) {
  GRAB_RETURN_IF_PROBLEM(CheckNames("source", config.sources, config.sources.size()));
  for (size_t i = 0; i < config.sources.size(); ++i) {
    const std::vector<std::string>& feedback = config.sources[i].feedback;
    for (size_t c = 0; c < feedback.size(); ++c) {
      const std::string key = absl::StrCat("source.", i, ".feedback.", c);
      if (feedback[c].empty()) return At(key, "is empty; expected the name of a column");
      if (std::count(feedback.begin(), feedback.end(), feedback[c]) > 1) {
        return At(key, absl::StrCat("names '", feedback[c], "' twice"));
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<ConfigProblem> FindProblem(const Config& config) {
  GRAB_RETURN_IF_PROBLEM(CheckSources(config));
  GRAB_RETURN_IF_PROBLEM(CheckFields(config));
  GRAB_RETURN_IF_PROBLEM(CheckLabels(config));
  GRAB_RETURN_IF_PROBLEM(CheckEvents(config));
  GRAB_RETURN_IF_PROBLEM(CheckAnswers(config));
  GRAB_RETURN_IF_PROBLEM(CheckSplit(config));
  GRAB_RETURN_IF_PROBLEM(CheckFollow(config));
  GRAB_RETURN_IF_PROBLEM(CheckTrees(config));
  GRAB_RETURN_IF_PROBLEM(CheckDlrm(config));
  for (const auto& [name, run] : {std::pair{"din", &config.din},
                                  {"sim", &config.sim},
                                  {"eta", &config.eta},
                                  {"twin", &config.twin},
                                  {"hstu", &config.hstu},
                                  {"grab", &config.grab}}) {
    GRAB_RETURN_IF_PROBLEM(CheckSequenceModel(config, name, *run));
  }
  return CheckEval(config);
}

}  // namespace grab
