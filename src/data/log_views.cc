#include "data/log_views.h"

#include <glob.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/file.h"

namespace grab {
namespace {

// DuckDB's default of 32 MB per open file does not go with small memory limits; a line must fit.
constexpr uint64_t kCsvBufferBytes = 4 << 20;
constexpr char kTextLine[] = "[^,]*,[^,]*,[^,]*,[01]?,[^,]*(,[^,:]+:[0-9]{1,9})*";

StatusOr<std::vector<std::string>> FindFiles(const Config& config, const SourceConfig& source) {
  std::vector<std::string> files;
  for (const std::string& pattern : source.files) {
    const std::string path = JoinPath(config.data_dir, pattern);
    glob_t found = {};
    const int result = ::glob(path.c_str(), GLOB_ERR, nullptr, &found);
    for (size_t i = 0; result == 0 && i < found.gl_pathc; ++i) files.push_back(found.gl_pathv[i]);
    ::globfree(&found);
    if (result != 0) {
      return absl::NotFoundError(absl::StrCat("[[source]] ", source.name, ": no file matches ",
                                              path, " (data_dir, or --data, sets the folder)"));
    }
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("[[source]] ", source.name, ": files is empty"));
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

std::string FileList(const std::vector<std::string>& files) {
  return absl::StrCat("[",
                      absl::StrJoin(files, ", ",
                                    [](std::string* out, const std::string& file) {
                                      absl::StrAppend(out, SqlString(file));
                                    }),
                      "]");
}

// "name TYPE" of the config as 'name': 'TYPE' of read_csv.
StatusOr<std::string> CsvColumns(const SourceConfig& source) {
  std::vector<std::string> columns;
  for (const std::string& column : source.columns) {
    const size_t space = column.find(' ');
    if (space == std::string::npos || space == 0) {
      return absl::InvalidArgumentError(absl::StrCat("[[source]] ", source.name, ": column '",
                                                     column, "' should be \"name TYPE\""));
    }
    columns.push_back(absl::StrCat(
        SqlString(column.substr(0, space)), ": ",
        SqlString(absl::StripAsciiWhitespace(absl::string_view(column).substr(space)))));
  }
  return absl::StrJoin(columns, ", ");
}

StatusOr<std::string> CsvRelation(const SourceConfig& source, const std::string& files) {
  std::string sql =
      absl::StrCat("read_csv(", files, ", header = ", source.header ? "true" : "false",
                   ", delim = ", SqlString(source.delimiter), ", quote = ", SqlString(source.quote),
                   ", encoding = ", SqlString(source.text_encoding),
                   ", buffer_size = ", kCsvBufferBytes, ", store_rejects = true");
  if (source.columns.empty()) {
    if (!source.header) {
      return absl::InvalidArgumentError(absl::StrCat(
          "[[source]] ", source.name, ": without a header, columns must name the columns"));
    }
  } else {
    GRAB_ASSIGN_OR_RETURN(const std::string columns, CsvColumns(source));
    absl::StrAppend(&sql, ", auto_detect = false, escape = ", SqlString(source.quote),
                    ", columns = {", columns, "}");
  }
  return absl::StrCat(sql, ")");
}

// Every line as one text column, `line`; an empty line is NULL.
std::string LinesRelation(const std::string& files) {
  return absl::StrCat("read_csv(", files,
                      ", header = false, auto_detect = false, delim = chr(1), quote = '', escape = "
                      "'', columns = {'line': 'VARCHAR'}, buffer_size = ",
                      kCsvBufferBytes, ", store_rejects = true)");
}

std::string GoodLine(const SourceConfig& source) {
  return source.format == "json"
             ? "coalesce(TRY(json_type(line)) = 'OBJECT', false)"
             : absl::StrCat("regexp_full_match(line, ", SqlString(kTextLine), ")");
}

std::string TextSelect(const std::string& lines, const std::string& good) {
  return absl::StrCat(
      "SELECT nullif(p[1], '') AS logid, nullif(p[2], '') AS userid, nullif(p[3], '') AS adid, "
      "TRY_CAST(nullif(p[4], '') AS BOOLEAN) AS clk, TRY_CAST(p[5] AS BIGINT) AS timestamp, "
      "list_transform(p[6:], lambda s: struct_pack(sign := split_part(s, ':', 1), "
      "slot := CAST(split_part(s, ':', 2) AS INTEGER))) AS signs "
      "FROM (SELECT string_split(line, ',') AS p FROM ",
      lines, " WHERE ", good, ")");
}

// The keys and types are those of all lines, so that a key that comes late is there too.
StatusOr<std::string> JsonSelect(DuckDb& db, const std::string& lines, const std::string& good) {
  GRAB_ASSIGN_OR_RETURN(
      auto query, db.Query(absl::StrCat(
                      "SELECT CAST(json_group_structure(TRY_CAST(line AS JSON)) AS VARCHAR) FROM ",
                      lines, " WHERE ", good)));
  GRAB_ASSIGN_OR_RETURN(const bool any, query->Next());
  if (!any || !query->column(0).valid(0)) {
    return absl::InvalidArgumentError("no line holds a JSON object");
  }
  return absl::StrCat("SELECT unnest(from_json(line, ", SqlString(query->column(0).GetString(0)),
                      ")) FROM ", lines, " WHERE ", good);
}

StatusOr<std::string> SourceSelect(DuckDb& db, const SourceConfig& source,
                                   const std::string& files) {
  if (source.format == "parquet") return absl::StrCat("SELECT * FROM read_parquet(", files, ")");
  if (source.format == "text") return TextSelect(LinesRelation(files), GoodLine(source));
  if (source.format == "json") return JsonSelect(db, LinesRelation(files), GoodLine(source));
  GRAB_ASSIGN_OR_RETURN(const std::string relation, CsvRelation(source, files));
  return absl::StrCat("SELECT * FROM ", relation);
}

// Row positions keep DuckDB from reading a source with several threads, so they are made only where
// needed.
bool NeedsRow(const Config& config, const SourceConfig& source) {
  std::string sql;
  for (const FieldConfig& field : config.fields) absl::StrAppend(&sql, field.expr, field.weights);
  for (const ActionConfig& action : config.actions) absl::StrAppend(&sql, action.expr);
  for (const TaskConfig& task : config.tasks) absl::StrAppend(&sql, task.label);
  for (const EventsConfig& events : config.events) {
    if (events.order.empty() && FindFirstRelation(config, events.from).source == source.name) {
      return true;
    }
    absl::StrAppend(&sql, events.with, events.from, events.where, events.user,
                    events.request_time_ms, events.known_time_ms, events.event_id, events.order,
                    events.page, events.session, events.split);
    for (const StringMap* map : {&events.fields, &events.actions, &events.labels}) {
      for (const auto& [name, expression] : *map) absl::StrAppend(&sql, expression);
    }
  }
  return absl::StrContains(sql, kRowColumn);
}

// The next word of SQL, unquoted; empty at anything else.
std::string TakeWord(absl::string_view& text) {
  text = absl::StripLeadingAsciiWhitespace(text);
  size_t end = 0;
  if (absl::StartsWith(text, "\"")) {
    end = text.find('"', 1);
    if (end == absl::string_view::npos) return "";
    const std::string word(text.substr(1, end - 1));
    text.remove_prefix(end + 1);
    return word;
  }
  while (end < text.size() &&
         (absl::ascii_isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
    ++end;
  const std::string word(text.substr(0, end));
  text.remove_prefix(end);
  return word;
}

StatusOr<std::string> PermutedRows(const SourceConfig& source,
                                   const std::vector<std::string>& columns, int64_t seed,
                                   const std::string& rows) {
  std::vector<std::string> names, drawn;
  for (const std::string& column : source.feedback) {
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
      return absl::InvalidArgumentError(absl::StrCat("feedback: there is no column '", column,
                                                     "', only ", absl::StrJoin(columns, ", ")));
    }
    names.push_back(SqlIdentifier(column));
    drawn.push_back(absl::StrCat("drawn.", names.back(), " AS ", names.back()));
  }
  if (seed == 0 || names.empty()) return rows;
  return absl::StrCat(
      "WITH kept AS MATERIALIZED (SELECT *, row_number() OVER () AS grab_place FROM (", rows,
      ")), drawn AS (SELECT ", absl::StrJoin(names, ", "),
      ", row_number() OVER (ORDER BY hash(grab_place, ", seed,
      "), grab_place) AS grab_place FROM kept) SELECT kept.* EXCLUDE (grab_place) REPLACE (",
      absl::StrJoin(drawn, ", "), ") FROM kept JOIN drawn ON kept.grab_place = drawn.grab_place");
}

// Without a column to permute, shards would pass as permuted that are not.
Status CheckPermutes(const Config& config) {
  const bool names_any =
      std::any_of(config.sources.begin(), config.sources.end(),
                  [](const SourceConfig& source) { return !source.feedback.empty(); });
  if (config.prepare.permute_feedback == 0 || names_any) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "prepare.permute_feedback: no [[source]] names its feedback columns");
}

}  // namespace

FirstRelation FindFirstRelation(const Config& config, const std::string& from) {
  static const std::set<std::string>* const kNoAlias = new std::set<std::string>{
      "",     "join", "left",    "right",      "inner", "full",  "cross", "semi",
      "anti", "asof", "natural", "positional", "where", "using", "on"};
  absl::string_view text = from;
  const std::string first = TakeWord(text);
  const bool is_source =
      std::any_of(config.sources.begin(), config.sources.end(),
                  [&](const SourceConfig& source) { return source.name == first; });
  if (!is_source) return {};
  std::string alias = TakeWord(text);
  if (absl::AsciiStrToLower(alias) == "as") alias = TakeWord(text);
  const bool none = kNoAlias->count(absl::AsciiStrToLower(alias)) != 0;
  return {first, none ? first : alias};
}

StatusOr<std::vector<LogView>> CreateLogViews(const Config& config,
                                              const std::optional<int64_t>& end_ms, DuckDb& db) {
  GRAB_RETURN_IF_ERROR(CheckPermutes(config));
  GRAB_RETURN_IF_ERROR(
      db.Execute("CREATE MACRO slot(signs, n) AS list_transform(list_filter(signs, lambda s: "
                 "s.slot = n), lambda s: s.sign)"));
  std::vector<LogView> views;
  for (const SourceConfig& source : config.sources) {
    const std::string context = absl::StrCat("[[source]] ", source.name);
    GRAB_ASSIGN_OR_RETURN(const auto files, FindFiles(config, source));
    const auto select = SourceSelect(db, source, FileList(files));
    if (!select.ok()) return Annotate(select.status(), context);
    const auto columns = db.Describe(*select);
    if (!columns.ok()) return Annotate(columns.status(), context);
    LogView view;
    view.name = source.name;
    for (const DuckType& column : *columns) view.columns.push_back(column.name);
    view.has_row = NeedsRow(config, source);
    const std::string row =
        view.has_row ? absl::StrCat(", row_number() OVER () AS ", kRowColumn) : "";
    std::string rows = absl::StrCat("SELECT *", row, " FROM (", *select, ")");
    if (end_ms.has_value() && !source.time_ms.empty()) {
      const std::string known = absl::StrCat("(", source.time_ms, ") < ", *end_ms);
      view.count_hidden =
          absl::StrCat("SELECT count(*) FROM (", *select, ") WHERE (", known, ") IS NOT TRUE");
      rows = absl::StrCat("SELECT * FROM (", rows, ") WHERE ", known);
    }
    const auto permuted = PermutedRows(source, view.columns, config.prepare.permute_feedback, rows);
    if (!permuted.ok()) return Annotate(permuted.status(), context);
    GRAB_RETURN_IF_ERROR(Annotate(
        db.Execute(absl::StrCat("CREATE VIEW ", SqlIdentifier(source.name), " AS ", *permuted)),
        context));
    views.push_back(std::move(view));
  }
  return views;
}

Status CountBadLines(const Config& config, DuckDb& db, Reasons& rejects) {
  for (const SourceConfig& source : config.sources) {
    if (source.format != "json" && source.format != "text") continue;
    GRAB_ASSIGN_OR_RETURN(const auto files, FindFiles(config, source));
    GRAB_ASSIGN_OR_RETURN(
        auto query, db.Query(absl::StrCat("SELECT line FROM ", LinesRelation(FileList(files)),
                                          " WHERE line IS NOT NULL AND NOT ", GoodLine(source))));
    while (true) {
      GRAB_ASSIGN_OR_RETURN(const bool more, query->Next());
      if (!more) break;
      const DuckColumn line = query->column(0);
      for (uint64_t row = 0; row < query->rows(); ++row) {
        rejects.Add(absl::StrCat("malformed ", source.format, " line"), 1, [&] {
          return absl::StrCat(source.name, ": ", line.GetString(row).substr(0, 200));
        });
      }
    }
  }
  GRAB_ASSIGN_OR_RETURN(
      const int64_t tables,
      db.QueryInt64("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"));
  if (tables == 0) return absl::OkStatus();
  // A source that is scanned twice reports its errors twice, and a line may have several.
  GRAB_ASSIGN_OR_RETURN(
      auto query,
      db.Query("SELECT min(CAST(error_type AS VARCHAR)), file_path, CAST(e.line AS BIGINT), "
               "min(error_message) FROM reject_errors e JOIN reject_scans s USING (scan_id, "
               "file_id) GROUP BY file_path, e.line ORDER BY file_path, e.line"));
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const bool more, query->Next());
    if (!more) break;
    for (uint64_t row = 0; row < query->rows(); ++row) {
      rejects.Add(absl::StrCat("csv: ", absl::AsciiStrToLower(query->column(0).GetString(row))), 1,
                  [&] {
                    return absl::StrCat(query->column(1).GetString(row), ":",
                                        query->column(2).Get<int64_t>(row), ": ",
                                        query->column(3).GetString(row).substr(0, 200));
                  });
    }
  }
  return absl::OkStatus();
}

}  // namespace grab
