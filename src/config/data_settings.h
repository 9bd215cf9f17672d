// Settings of the data: the log, events, fields, tasks, shards (config/settings.h says how).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/setting.h"

namespace grab {

// One set of log files, a view of that name in the SQL of [[events]].
struct SourceConfig {
  std::string name;
  std::vector<std::string> files;
  std::string format = "csv";
  bool header = true;
  std::string delimiter = ",";
  std::string quote = "\"";
  std::vector<std::string> columns;
  std::string text_encoding = "utf-8";
  std::string time_ms;
  std::vector<std::string> feedback;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the view that SQL expressions use.", Anything());
    v.Setting("files", files, "Globs, relative to the data folder.", Anything());
    v.Setting("format", format,
              "File format; csv also reads TSV and gzip, text is "
              "logid,userid,adid,clk,timestamp,sign:slot,...",
              OneOf({"csv", "parquet", "json", "text"}));
    v.Setting("header", header, "CSV: the first line names the columns.", Anything());
    v.Setting("delimiter", delimiter, "CSV: field separator.", Anything());
    v.Setting("quote", quote, "CSV: quote character; empty for none.", Anything());
    v.Setting("columns", columns,
              "CSV: columns as \"name TYPE\" (a DuckDB type); needed without a header, otherwise "
              "detected.",
              Anything());
    v.Setting("text_encoding", text_encoding, "CSV: character encoding.",
              OneOf({"utf-8", "latin-1"}));
    v.Setting("time_ms", time_ms,
              "SQL over its own columns: Unix ms when a row became known. `grab train --follow` "
              "hides rows from the end of the pass on; empty: all rows are always visible.",
              Anything());
    v.Setting("feedback", feedback,
              "Columns that hold what came of a row (a click, a rating, a dwell time): those that "
              "prepare.permute_feedback permutes.",
              Anything());
  }
};

// One query whose rows become events. Values are SQL expressions over `from`.
struct EventsConfig {
  std::string name;
  std::string with;
  std::string from;
  std::string where;
  std::string user;
  std::string request_time_ms;
  std::string known_time_ms;
  std::string event_id;
  std::string order;
  std::string page;
  std::string session;
  std::string split;
  std::string duplicate_key;
  bool history = true;
  StringMap fields;
  StringMap actions;
  StringMap labels;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name in reports.", Anything());
    v.Setting("with", with, "SQL common table expressions (the text after WITH), if any.",
              Anything());
    v.Setting("from", from, "SQL FROM clause: a source, or a join of sources.", Anything());
    v.Setting("where", where,
              "SQL filter of rows that are no events at all; they are counted as filtered.",
              Anything());
    v.Setting("user", user, "User id; a row without one is rejected.", Anything());
    v.Setting("request_time_ms", request_time_ms,
              "Unix ms when the event was shown or happened; a row without one is rejected.",
              Anything());
    v.Setting("known_time_ms", known_time_ms,
              "Unix ms when its feedback was known, >= request_time_ms; empty: request_time_ms.",
              Anything());
    v.Setting("event_id", event_id,
              "Id of the event, unique in the log; empty: its position in the sorted log.",
              Anything());
    v.Setting("order", order, "Log order among equal times; empty: the order of the file.",
              Anything());
    v.Setting("page", page, "Id of the page (request) that showed the event; empty: none.",
              Anything());
    v.Setting("session", session, "Id of the session; empty: none.", Anything());
    v.Setting("split", split,
              "'train', 'valid', 'test' for scoring targets, 'context' or NULL for history only; "
              "empty: by [split].",
              Anything());
    v.Setting("duplicate_key", duplicate_key,
              "Rows of a user with equal times and equal values of this are duplicates: all but "
              "the first "
              "are dropped and counted. A source's name stands for its whole row; empty: keep all.",
              Anything());
    v.Setting("history", history,
              "false: the rows are candidates only, as sampled negatives are, which nobody was "
              "shown: targets that never become history, nor are counted by [trees].",
              Anything());
    v.Setting("fields", fields, "Expressions that replace those of [[field]] for these rows.",
              Anything());
    v.Setting("actions", actions, "Expressions that replace those of [[action]].", Anything());
    v.Setting("labels", labels, "Expressions that replace those of [[task]].", Anything());
  }
};

// Most ids of one field at one event.
inline constexpr int64_t kFieldValuesMax = 65536;

// One feature of an event (DESIGN 3.2).
struct FieldConfig {
  std::string name;
  std::string kind = "id";
  std::string role = "item";
  std::string expr;
  std::string weights;
  std::string pool = "mean";
  std::string partial = "auto";
  std::string full = "auto";
  std::string table;
  int64_t dim = 0;
  int64_t width = 0;
  int64_t values_max = 64;
  std::vector<double> boundaries;
  std::vector<std::string> of;

  bool InPartialToken() const { return partial == "yes" || (partial == "auto" && role != "user"); }
  bool InFullToken() const { return full == "yes" || (full == "auto" && role != "behaviour"); }

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the field.", Anything());
    v.Setting("kind", kind,
              "id: one value; ids: several, pooled; number: bucketised; dense: a vector of width "
              "floats; cross: the combination of the id fields in `of`.",
              OneOf({"id", "ids", "number", "dense", "cross"}));
    v.Setting("role", role,
              "item and context enter both tokens, user only the full (candidate) token, behaviour "
              "(known "
              "with the feedback) only the partial (history) token.",
              OneOf({"item", "context", "user", "behaviour"}));
    v.Setting("expr", expr, "SQL expression; a list for ids and dense. Empty: the column `name`.",
              Anything());
    v.Setting("weights", weights, "ids: SQL list of weights, as long as the ids; empty: all 1.",
              Anything());
    v.Setting("pool", pool, "ids: how the embeddings of several values are pooled.",
              OneOf({"sum", "mean"}));
    v.Setting("partial", partial, "Whether the field enters partial tokens; auto: by role.",
              OneOf({"auto", "yes", "no"}));
    v.Setting("full", full,
              "Whether the field enters full tokens; auto: by role. A behaviour field never may.",
              OneOf({"auto", "yes", "no"}));
    v.Setting("table", table, "Embedding table, shared by fields that name the same; empty: own.",
              Anything());
    v.Setting("dim", dim, "Embedding width; 0: the model's embedding_dim.", Between(0, 4096));
    v.Setting("width", width, "dense: floats per vector.", Between(0, 65536));
    v.Setting("values_max", values_max,
              "ids: values kept per event, the first ones; what is cut is counted in the report.",
              Between(1, kFieldValuesMax));
    v.Setting(
        "boundaries", boundaries,
        "number: ascending upper bounds; bucket i holds values <= boundaries[i], one more holds "
        "the rest.",
        Anything());
    v.Setting("of", of, "cross: names of two or more id or number fields.", Anything());
  }
};

// One bit of feedback. Order matters: an event's action class is the first action of this list that
// it has.
struct ActionConfig {
  std::string name;
  std::string expr;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the action.", Anything());
    v.Setting("expr", expr, "SQL boolean; NULL where it is not known. Empty: the column `name`.",
              Anything());
  }
};

struct TaskConfig {
  std::string name;
  std::string label;
  double weight = 1.0;
  int64_t delay_s = 0;
  bool auxiliary = false;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the task: one logit, one probability.", Anything());
    v.Setting("label", label, "SQL boolean; NULL where unknown (left out of loss and metrics).",
              Anything());
    v.Setting("weight", weight, "Weight in the loss.", Between(0, 1e6));
    v.Setting("delay_s", delay_s,
              "How long after the request the label is final, at most; what happens later must not "
              "change it. With [split], labels of training targets that are not final by "
              "valid_from, and others not final by end, are unknown; `grab train --follow` trains "
              "each label in the pass in which it becomes final.",
              Between(0, 1e9));
    v.Setting("auxiliary", auxiliary,
              "true: trained for what it teaches about the others, with which it shares tables and "
              "weights. Boosted trees share nothing and leave it out. Such tasks come last.",
              Anything());
  }
};

// Scoring targets by request time, [from, to) each; rows outside are context.
struct SplitConfig {
  std::string train_from, valid_from, test_from, end;

  template <class V>
  void Visit(V& v) {
    v.Setting(
        "train_from", train_from,
        "ISO 8601 time with offset (2022-04-25T00:00:00+08:00) at which training targets start.",
        Anything());
    v.Setting("valid_from", valid_from, "Where validation targets start.", Anything());
    v.Setting("test_from", test_from, "Where test targets start.", Anything());
    v.Setting("end", end, "Where test targets end.", Anything());
  }
};

struct PrepareConfig {
  int64_t shards = 4;
  int64_t block_events_max = 65536;
  int64_t user_events_max = 100000;
  int64_t memory_limit_mb = 2048;
  std::string temp_dir;
  double bad_fraction_max = 0.001;
  int64_t examples_max = 5;
  int64_t zstd_level = 3;
  int64_t threads = 0;
  int64_t permute_feedback = 0;

  template <class V>
  void Visit(V& v) {
    v.Setting("shards", shards, "Shard files; a user's events are in one.", Between(1, 4096));
    v.Setting("block_events_max", block_events_max,
              "Events per block; a longer user is a block of its own.", Between(1, 1 << 24));
    v.Setting("user_events_max", user_events_max,
              "Events kept per user, the newest; older ones are counted as truncated.",
              Between(1, 1 << 24));
    v.Setting("memory_limit_mb", memory_limit_mb, "DuckDB's memory; beyond it sorting spills.",
              Between(64, 1 << 24));
    v.Setting("temp_dir", temp_dir, "Where sorting spills; empty: beside the shards.", Anything());
    v.Setting("bad_fraction_max", bad_fraction_max,
              "Share of rows that may be unusable before prepare fails.", Between(0, 1));
    v.Setting("examples_max", examples_max, "Examples per reason in the report.", Between(0, 1000));
    v.Setting("zstd_level", zstd_level, "Compression level of the shards.", Between(1, 19));
    v.Setting("threads", threads, "Threads; 0: all of the machine.", Between(0, 1024));
    v.Setting(
        "permute_feedback", permute_feedback,
        "Seed of a permutation of each source's feedback columns among its rows, which leaves "
        "nothing to learn: `grab compare` trains on such shards to find leaks. 0: none.",
        Between(0, 9007199254740992.0));
  }
};

}  // namespace grab
