#include "data/log_query.h"

#include <algorithm>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"

namespace grab {
namespace {

// The expression of what is missing.
constexpr char kNull[] = "NULL";

// What the rows of one column are cast to.
enum class Cast {
  kTime,    // BIGINT, NULL where the expression fails
  kText,    // VARCHAR
  kKey,     // BIGINT if every [[events]] gives integers, else VARCHAR
  kKeys,    // a list of them
  kFloat,   // FLOAT
  kFloats,  // a list of FLOAT
  kHash,    // UBIGINT hash
  kBits,    // UINTEGER
};

// One column of the query: an expression per [[events]], empty where that gives none.
struct Column {
  std::string name;
  Cast cast = Cast::kText;
  std::vector<std::string> expressions;
  bool integers = true;  // of kKey and kKeys, found by describing the expressions
};

bool IsInteger(duckdb_type type) {
  switch (type) {
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
      return true;
    default:
      return false;
  }
}

bool IsList(const DuckType& type) { return type.element != DUCKDB_TYPE_INVALID; }

Status CheckAnyEvents(const Config& config) {
  if (!config.events.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("the config has no [[events]]: nothing says what an event is");
}

std::string TimeSql(absl::string_view expression) {
  return absl::StrCat("TRY(CAST((", expression, ") AS BIGINT))");
}

std::string With(const EventsConfig& events) {
  return events.with.empty() ? "" : absl::StrCat("WITH ", events.with, " ");
}

std::string KnownTime(const EventsConfig& events) {
  return events.known_time_ms.empty() ? events.request_time_ms : events.known_time_ms;
}

// "name" or "alias.name".
bool IsColumnReference(absl::string_view expression) {
  const auto is_name = [](absl::string_view part) {
    return !part.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(part[0])) &&
           std::all_of(part.begin(), part.end(), [](char c) {
             return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
           });
  };
  const std::vector<absl::string_view> parts = absl::StrSplit(expression, '.');
  return parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), is_name);
}

// A BIGINT to compare with in a WHERE clause. DuckDB prunes by statistics only without TRY, which
// an integer column does not need.
StatusOr<std::string> ComparableTime(const EventsConfig& events, const std::string& expression,
                                     DuckDb& db) {
  if (!IsColumnReference(expression)) return TimeSql(expression);
  GRAB_ASSIGN_OR_RETURN(
      const auto types,
      db.Describe(absl::StrCat(With(events), "SELECT ", expression, " FROM ", events.from)));
  return IsInteger(types[0].type) ? expression : TimeSql(expression);
}

std::string CastSql(const Column& column, const std::string& expression) {
  if (expression.empty() && column.cast == Cast::kBits) return "CAST(0 AS UINTEGER)";
  const std::string value = expression.empty() ? kNull : absl::StrCat("(", expression, ")");
  const char* key = column.integers ? "BIGINT" : "VARCHAR";
  switch (column.cast) {
    case Cast::kTime:
      return TimeSql(value);
    case Cast::kText:
      return absl::StrCat("CAST(", value, " AS VARCHAR)");
    case Cast::kKey:
      return absl::StrCat("CAST(", value, " AS ", key, ")");
    case Cast::kKeys:
      return absl::StrCat("CAST(", value, " AS ", key, "[])");
    case Cast::kFloat:
      return absl::StrCat("CAST(", value, " AS FLOAT)");
    case Cast::kFloats:
      return absl::StrCat("CAST(", value, " AS FLOAT[])");
    case Cast::kHash:
      return expression.empty() ? "CAST(NULL AS UBIGINT)" : absl::StrCat("hash(", expression, ")");
    case Cast::kBits:
      return absl::StrCat("CAST(", value, " AS UINTEGER)");
  }
  return value;
}

// Bit i is set where expression i holds, or where it is known.
std::string BitsSql(const std::vector<std::string>& expressions, bool known) {
  std::vector<std::string> terms;
  for (size_t i = 0; i < expressions.size(); ++i) {
    if (expressions[i] == kNull) continue;
    terms.push_back(absl::StrCat("CASE WHEN ", known ? "" : "CAST(", "(", expressions[i], ")",
                                 known ? " IS NOT NULL" : " AS BOOLEAN)", " THEN ",
                                 uint64_t{1} << i, " ELSE 0 END"));
  }
  return terms.empty() ? "0" : absl::StrJoin(terms, " + ");
}

Status CheckOverrides(const StringMap& overrides, const std::vector<std::string>& names,
                      absl::string_view what) {
  for (const auto& [name, expression] : overrides) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ".", name, ": there is no such name; known are ",
                       names.empty() ? "none" : absl::StrJoin(names, ", ")));
    }
    if (expression.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ".", name, ": empty; NULL stands for missing"));
    }
  }
  return absl::OkStatus();
}

// The expression of a named value: the override, else its own, else the column of that name.
std::string ExpressionOf(const StringMap& overrides, const std::string& name,
                         const std::string& own) {
  const auto found = overrides.find(name);
  if (found != overrides.end()) return found->second;
  return own.empty() ? SqlIdentifier(name) : own;
}

class QueryBuilder {
 public:
  QueryBuilder(const Config& config, const Schema& schema, const std::vector<LogView>& views,
               const std::optional<TimeRange>& known, DuckDb& db)
      : config_(config), schema_(schema), views_(views), known_(known), db_(db) {}

  StatusOr<LogQuery> Build() {
    GRAB_RETURN_IF_ERROR(CheckAnyEvents(config_));
    for (const EventsConfig& events : config_.events) {
      GRAB_RETURN_IF_ERROR(Annotate(CheckEvents(events), Context(events)));
    }
    GRAB_RETURN_IF_ERROR(AddColumns());
    for (size_t e = 0; e < config_.events.size(); ++e) {
      GRAB_RETURN_IF_ERROR(Annotate(DescribeEvents(e), Context(config_.events[e])));
      GRAB_RETURN_IF_ERROR(Annotate(AddRange(config_.events[e]), Context(config_.events[e])));
    }
    GRAB_RETURN_IF_ERROR(AssembleSql());
    for (LogQuery::Field& field : query_.fields) {
      field.integers = columns_[static_cast<size_t>(field.values)].integers;
    }
    for (size_t e = 0; e < config_.events.size(); ++e) {
      const EventsConfig& events = config_.events[e];
      query_.gives_event_id.push_back(!events.event_id.empty());
      if (events.where.empty()) continue;
      query_.count_filtered.push_back(
          absl::StrCat(With(events), "SELECT count(*) FROM ", events.from, " WHERE (", events.where,
                       ") IS NOT TRUE", ranges_[e].empty() ? "" : " AND ", ranges_[e]));
    }
    return std::move(query_);
  }

 private:
  static std::string Context(const EventsConfig& events) {
    return absl::StrCat("[[events]] ", events.name);
  }

  Status CheckEvents(const EventsConfig& events) const {
    for (const auto& [key, value] : {std::pair{"from", &events.from},
                                     {"user", &events.user},
                                     {"request_time_ms", &events.request_time_ms}}) {
      if (value->empty()) return absl::InvalidArgumentError(absl::StrCat(key, " is missing"));
    }
    std::vector<std::string> names;
    for (const FieldSchema& field : schema_.fields) {
      names.push_back(field.name);
    }
    GRAB_RETURN_IF_ERROR(CheckOverrides(events.fields, names, "fields"));
    GRAB_RETURN_IF_ERROR(CheckOverrides(events.actions, schema_.actions, "actions"));
    return CheckOverrides(events.labels, schema_.tasks, "labels");
  }

  // Adds a column unless no [[events]] gives an expression; returns its index or -1.
  int Add(const std::string& name, Cast cast,
          const std::function<std::string(const EventsConfig&)>& expression) {
    Column column;
    column.name = absl::StrCat("grab_", name);
    column.cast = cast;
    for (const EventsConfig& events : config_.events) {
      column.expressions.push_back(expression(events));
    }
    const bool given = std::any_of(column.expressions.begin(), column.expressions.end(),
                                   [](const std::string& text) { return !text.empty(); });
    if (!given) return -1;
    columns_.push_back(std::move(column));
    return static_cast<int>(columns_.size()) - 1;
  }

  // Of `order`, or of grab_row where it is empty.
  StatusOr<std::string> OrderExpression(const EventsConfig& events) const {
    if (!events.order.empty()) return events.order;
    const FirstRelation first = FindFirstRelation(config_, events.from);
    if (first.alias.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Context(events), ": order must be given, because from ('", events.from,
                       "') does not start with a source whose file order could serve"));
    }
    return absl::StrCat(SqlIdentifier(first.alias), ".", kRowColumn);
  }

  // The name of a source, or of the alias that `from` starts with, stands for the source's own
  // columns, without grab_row.
  std::string DuplicateExpression(const EventsConfig& events) const {
    const FirstRelation first = FindFirstRelation(config_, events.from);
    for (const LogView& view : views_) {
      const bool is_alias = !first.alias.empty() && first.alias == events.duplicate_key;
      if (view.name != (is_alias ? first.source : events.duplicate_key)) continue;
      return absl::StrJoin(view.columns, ", ", [&](std::string* out, const std::string& column) {
        absl::StrAppend(out, SqlIdentifier(events.duplicate_key), ".", SqlIdentifier(column));
      });
    }
    return events.duplicate_key;
  }

  Status AddColumns() {
    query_.user = Add("user", Cast::kKey, [](const EventsConfig& e) { return e.user; });
    query_.request_time =
        Add("request", Cast::kTime, [](const EventsConfig& e) { return e.request_time_ms; });
    const bool any_known = std::any_of(config_.events.begin(), config_.events.end(),
                                       [](const auto& e) { return !e.known_time_ms.empty(); });
    if (any_known) {
      query_.known_time = Add("known", Cast::kTime, KnownTime);
    }
    query_.event_id = Add("event", Cast::kKey, [](const EventsConfig& e) { return e.event_id; });
    query_.page = Add("page", Cast::kKey, [](const EventsConfig& e) { return e.page; });
    query_.session = Add("session", Cast::kKey, [](const EventsConfig& e) { return e.session; });
    query_.split = Add("split", Cast::kText, [](const EventsConfig& e) { return e.split; });
    query_.duplicate = Add("duplicate", Cast::kHash,
                           [&](const EventsConfig& e) { return DuplicateExpression(e); });
    query_.order = Add("tie", Cast::kHash, [](const EventsConfig& e) { return e.order; });
    AddBits();
    AddFields();
    return absl::OkStatus();
  }

  void AddBits() {
    const auto action_bits = [&](bool known) {
      return [this, known](const EventsConfig& events) {
        std::vector<std::string> list;
        for (const ActionConfig& action : config_.actions) {
          list.push_back(ExpressionOf(events.actions, action.name, action.expr));
        }
        return BitsSql(list, known);
      };
    };
    const auto label_bits = [&](bool known) {
      return [this, known](const EventsConfig& events) {
        std::vector<std::string> list;
        for (const TaskConfig& task : config_.tasks) {
          list.push_back(ExpressionOf(events.labels, task.name, task.label));
        }
        return BitsSql(list, known);
      };
    };
    query_.actions = Add("actions", Cast::kBits, action_bits(false));
    query_.actions_known = Add("actions_known", Cast::kBits, action_bits(true));
    query_.labels = Add("labels", Cast::kBits, label_bits(false));
    query_.labels_known = Add("labels_known", Cast::kBits, label_bits(true));
  }

  void AddFields() {
    for (const FieldConfig& field : config_.fields) {
      if (field.kind == "cross") continue;
      Cast cast = Cast::kKey;
      if (field.kind == "ids") cast = Cast::kKeys;
      if (field.kind == "number") cast = Cast::kFloat;
      if (field.kind == "dense") cast = Cast::kFloats;
      LogQuery::Field entry;
      const std::string prefix = absl::StrCat("field_", query_.fields.size());
      entry.values = Add(prefix, cast, [&](const EventsConfig& events) {
        return ExpressionOf(events.fields, field.name, field.expr);
      });
      if (!field.weights.empty()) {
        entry.weights = Add(prefix + "_weights", Cast::kFloats, [&](const EventsConfig& events) {
          const auto values = events.fields.find(field.name);
          const bool missing = values != events.fields.end() && values->second == kNull;
          return missing ? kNull : field.weights;
        });
      }
      query_.fields.push_back(entry);
    }
  }

  // Learns the types of one [[events]]' expressions and checks that each can be cast.
  Status DescribeEvents(size_t e) {
    const EventsConfig& events = config_.events[e];
    std::vector<std::string> list;
    for (const Column& column : columns_) {
      const std::string& expression = column.expressions[e];
      const bool typed = column.cast != Cast::kHash && !expression.empty();
      list.push_back(typed ? absl::StrCat("(", expression, ")") : CastSql(column, expression));
    }
    const std::string tail =
        absl::StrCat(" FROM ", events.from,
                     events.where.empty() ? "" : absl::StrCat(" WHERE (", events.where, ")"));
    GRAB_ASSIGN_OR_RETURN(
        const auto types,
        db_.Describe(absl::StrCat(With(events), "SELECT ", absl::StrJoin(list, ", "), tail)));
    GRAB_CHECK(types.size() == columns_.size());
    for (size_t c = 0; c < columns_.size(); ++c) {
      Column& column = columns_[c];
      const bool wants_list = column.cast == Cast::kKeys || column.cast == Cast::kFloats;
      if (!column.expressions[e].empty() && column.expressions[e] != kNull &&
          column.cast != Cast::kHash && wants_list != IsList(types[c])) {
        return absl::InvalidArgumentError(absl::StrCat("'", column.expressions[e], "' should be ",
                                                       wants_list ? "a list" : "a single value"));
      }
      const duckdb_type type = IsList(types[c]) ? types[c].element : types[c].type;
      if (!column.expressions[e].empty() && column.expressions[e] != kNull && !IsInteger(type)) {
        column.integers = false;
      }
    }
    const auto row = std::string(kRowColumn);
    if (events.duplicate_key.find(row) != std::string::npos) {
      return absl::InvalidArgumentError("duplicate_key covers grab_row, which no two rows share");
    }
    return absl::OkStatus();
  }

  // The condition of the range on one [[events]]' rows, and the counts of what it leaves out.
  Status AddRange(const EventsConfig& events) {
    ranges_.emplace_back();
    if (!known_.has_value()) return absl::OkStatus();
    GRAB_ASSIGN_OR_RETURN(const std::string time, ComparableTime(events, KnownTime(events), db_));
    const std::string before = absl::StrCat(time, " < ", known_->from_ms);
    const std::string after = absl::StrCat(time, " >= ", known_->to_ms);
    ranges_.back() =
        absl::StrCat(time, " >= ", known_->from_ms, " AND ", time, " < ", known_->to_ms);
    query_.count_left_out.push_back(
        absl::StrCat(With(events), "SELECT count(*) FILTER (", before, "), count(*) FILTER (",
                     after, "), count(*) FILTER (", time, " IS NULL) FROM ", events.from));
    return absl::OkStatus();
  }

  // " WHERE ..." of one [[events]], or nothing.
  std::string Where(size_t e) const {
    std::vector<std::string> conditions;
    if (!config_.events[e].where.empty()) {
      conditions.push_back(absl::StrCat("(", config_.events[e].where, ")"));
    }
    if (!ranges_[e].empty()) conditions.push_back(ranges_[e]);
    return conditions.empty() ? "" : absl::StrCat(" WHERE ", absl::StrJoin(conditions, " AND "));
  }

  Status AssembleSql() {
    const size_t n = config_.events.size();
    std::vector<std::string> parts;
    std::vector<std::string> orders;
    for (size_t e = 0; e < n; ++e) {
      const EventsConfig& events = config_.events[e];
      std::vector<std::string> list;
      for (const Column& column : columns_) {
        list.push_back(absl::StrCat(CastSql(column, column.expressions[e]), " AS ", column.name));
      }
      if (n > 1) list.push_back(absl::StrCat("CAST(", e, " AS INTEGER) AS grab_events"));
      // Each [[events]] has an order column of its own, because each may order by another type.
      GRAB_ASSIGN_OR_RETURN(const std::string order, OrderExpression(events));
      for (size_t other = 0; other < n; ++other) {
        list.push_back(absl::StrCat(other == e ? order : "NULL", " AS grab_order_", other));
      }
      orders.push_back(absl::StrCat("grab_order_", e));
      parts.push_back(absl::StrCat("(", With(events), "SELECT ", absl::StrJoin(list, ", "),
                                   " FROM ", events.from, Where(e), ")"));
    }
    if (n > 1) query_.events_index = static_cast<int>(columns_.size());
    const int known = query_.known_time >= 0 ? query_.known_time : query_.request_time;
    const std::string order_list = absl::StrJoin(orders, ", ");
    query_.sql = absl::StrCat(
        "SELECT * EXCLUDE (", order_list, ") FROM (", absl::StrJoin(parts, " UNION ALL "),
        ") ORDER BY ", columns_[static_cast<size_t>(query_.user)].name, ", ",
        columns_[static_cast<size_t>(known)].name, n > 1 ? ", grab_events" : "", ", ", order_list);
    return absl::OkStatus();
  }

  const Config& config_;
  const Schema& schema_;
  const std::vector<LogView>& views_;
  const std::optional<TimeRange>& known_;
  DuckDb& db_;
  std::vector<Column> columns_;
  std::vector<std::string> ranges_;  // per [[events]]: the condition of known_, or empty
  LogQuery query_;
};

}  // namespace

StatusOr<LogQuery> BuildLogQuery(const Config& config, const Schema& schema,
                                 const std::vector<LogView>& views,
                                 const std::optional<TimeRange>& known, DuckDb& db) {
  return QueryBuilder(config, schema, views, known, db).Build();
}

StatusOr<std::string> NewestRequestSql(const Config& config, int64_t from_ms, DuckDb& db) {
  GRAB_RETURN_IF_ERROR(CheckAnyEvents(config));
  std::vector<std::string> parts;
  for (const EventsConfig& events : config.events) {
    const auto time = ComparableTime(events, events.request_time_ms, db);
    if (!time.ok()) {
      return Annotate(time.status(), absl::StrCat("[[events]] ", events.name));
    }
    parts.push_back(absl::StrCat(
        "(", With(events), "SELECT CAST(max(", *time, ") AS BIGINT) AS t FROM ", events.from,
        " WHERE ", *time, " >= ", from_ms, " AND ", *time, " <= ", kTimeMaxMs,
        events.where.empty() ? "" : absl::StrCat(" AND (", events.where, ")"), ")"));
  }
  return absl::StrCat("SELECT max(t) FROM (", absl::StrJoin(parts, " UNION ALL "), ")");
}

}  // namespace grab
