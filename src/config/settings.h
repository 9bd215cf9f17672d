// Every setting of grab, declared once: its C++ member and default, its key, range and help.
//
// A section is a struct with a `Visit` that shows each member to a visitor. Parsing, --set,
// dumping, --help and docs/config.md are visitors (config/config.h), so a setting added here is
// complete. A visitor provides:
//   v.Setting("key", member, "help", constraint)   bool, int64_t, double, std::string, vectors of
//   them, map of strings v.Section("key", struct, "help")               a table with a Visit of its
//   own v.List("key", vector<struct>, "help")          an array of tables
// Units stand last in names. A default here is the default everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace grab {

// Elements of a list. A shard keeps feedback and labels as bits of 32-bit words and counts fields
// in 16 bits.
inline constexpr size_t kActionsMax = 31;
inline constexpr size_t kTasksMax = 31;
inline constexpr size_t kFieldsMax = 1024;

// Allowed values of a setting: an inclusive range for numbers (and for every element of a list of
// numbers), or a closed list of words for strings (and for every element of a list of strings).
struct Constraint {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> words;
};
inline Constraint Between(double min, double max) { return {min, max, {}}; }
inline Constraint AtLeast(double min) { return {min, std::numeric_limits<double>::infinity(), {}}; }
inline Constraint OneOf(std::vector<std::string> words) {
  Constraint constraint;
  constraint.words = std::move(words);
  return constraint;
}
inline Constraint Anything() { return {}; }

using StringMap = std::map<std::string, std::string>;

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
    v.Setting("fields", fields, "Expressions that replace those of [[field]] for these rows.",
              Anything());
    v.Setting("actions", actions, "Expressions that replace those of [[action]].", Anything());
    v.Setting("labels", labels, "Expressions that replace those of [[task]].", Anything());
  }
};

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
              Between(1, 65536));
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
  }
};

// A channel of CamA (DESIGN 3.4): which history it holds and how far it sees.
struct ChannelConfig {
  std::string name;
  std::vector<std::string> actions;
  int64_t window_len = 50;
  double window_time_s = 0.0;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the channel.", Anything());
    v.Setting("actions", actions,
              "Events with any of these actions are in the channel; empty: all events.",
              Anything());
    v.Setting("window_len", window_len, "A query sees at most this many latest partial tokens.",
              Between(1, 1 << 20));
    v.Setting("window_time_s", window_time_s,
              "A query sees partial tokens known at most this long ago; 0: no limit.", AtLeast(0));
  }
};

struct ModelConfig {
  int64_t embedding_dim = 16;
  int64_t tokenizer_hidden = 128;
  int64_t d_model = 64;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t ffn_hidden = 128;
  int64_t latent_width = 0;
  std::string norm = "pre";
  bool target_mix = true;
  int64_t position_buckets = 32;
  int64_t time_buckets = 32;
  double time_max_s = 2592000.0;
  std::vector<int64_t> head_hidden = {64};
  std::vector<ChannelConfig> channels;

  template <class V>
  void Visit(V& v) {
    v.Setting("embedding_dim", embedding_dim, "Width of an embedding row.", Between(1, 4096));
    v.Setting("tokenizer_hidden", tokenizer_hidden, "Hidden width of the GateMLP.",
              Between(1, 65536));
    v.Setting("d_model", d_model, "Width of a token.", Between(1, 65536));
    v.Setting("layers", layers, "Transformer layers per channel.", Between(1, 256));
    v.Setting("heads", heads, "Attention heads; must divide d_model.", Between(1, 256));
    v.Setting("ffn_hidden", ffn_hidden, "Hidden width of the feed-forward part.",
              Between(1, 1 << 20));
    v.Setting("latent_width", latent_width,
              "Width of a shared latent that queries, keys and values are made from, so that a "
              "cache holds only it; 0: none, they are made from the token.",
              Between(0, 65536));
    v.Setting("norm", norm, "Where LayerNorm stands: before (pre) or after (post) a sublayer.",
              OneOf({"pre", "post"}));
    v.Setting("target_mix", target_mix, "Mix the channels at full tokens before each layer.",
              Anything());
    v.Setting("position_buckets", position_buckets,
              "Relative position buckets, the self bucket included.", Between(2, 4096));
    v.Setting("time_buckets", time_buckets, "Relative time buckets, the self bucket included.",
              Between(2, 4096));
    v.Setting("time_max_s", time_max_s, "Age from which all history is in the last time bucket.",
              Between(2, 1e12));
    v.Setting("head_hidden", head_hidden, "Hidden widths of the head's MLP.", Between(1, 65536));
    v.List("channel", channels, "Channels of history; none: one channel of all events.");
  }
};

// The loss of the model that a run was warm-started from, beside GRAB's own (DESIGN 4).
struct DualLossConfig {
  double weight = 0.0;
  int64_t window_targets = 32768;
  double plateau = 0.005;
  int64_t decay_targets = 65536;

  template <class V>
  void Visit(V& v) {
    v.Setting("weight", weight,
              "Weight of the base head's loss on the candidate's token until GRAB's loss "
              "plateaus; 0: no base head.",
              Between(0, 1e6));
    v.Setting("window_targets", window_targets,
              "GRAB's loss is averaged over this many targets and compared with the window before.",
              Between(1, 1e15));
    v.Setting("plateau", plateau,
              "A window that lowers the loss by less than this share is the plateau.",
              Between(0, 1));
    v.Setting("decay_targets", decay_targets,
              "Targets over which the weight falls to 0 from the plateau on.", Between(1, 1e15));
  }
};

// Clicked over not clicked among the candidates of a page, as a term of the loss.
struct PairwiseConfig {
  double weight = 0.0;
  std::string value_field;

  template <class V>
  void Visit(V& v) {
    v.Setting("weight", weight,
              "Weight of the mean pairwise loss on the main task within pages; 0: none.",
              Between(0, 1e6));
    v.Setting("value_field", value_field,
              "Number field whose value at the clicked candidate weighs its pairs (a missing or "
              "negative one counts 0); empty: all weigh 1.",
              Anything());
  }
};

// Pre-training: each partial token predicts the next item of its channel.
struct NextItemConfig {
  std::string field;
  int64_t negatives = 512;
  double temperature = 0.1;

  template <class V>
  void Visit(V& v) {
    v.Setting("field", field, "The id field that is predicted; needed for objective next_item.",
              Anything());
    v.Setting("negatives", negatives,
              "Sampled negatives per worker's part of a batch, shared by its tokens, drawn from "
              "its items and corrected for their popularity.",
              Between(1, 65536));
    v.Setting("temperature", temperature, "Divides the cosine of state and item.",
              Between(0.001, 100));
  }
};

// How one embedding table is trained and how long its rows live (docs/training.md).
struct TableConfig {
  std::string name;
  double lr = 0.0;
  std::string optimizer = "auto";
  std::string precision = "auto";
  int64_t admission_count = 1;
  double ttl_s = 0.0;
  double frequency_min = 0.0;
  double frequency_half_life_s = 0.0;
  int64_t bytes_max = 0;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Embedding table: a field's `table`, or its name.", Anything());
    v.Setting("lr", lr, "Learning rate of its rows; 0: table_lr.", Between(0, 100));
    v.Setting("optimizer", optimizer, "Optimiser of its rows; auto: table_optimizer.",
              OneOf({"auto", "adagrad", "adam"}));
    v.Setting("precision", precision, "How its rows are stored; auto: table_precision.",
              OneOf({"auto", "f32", "bf16", "f16"}));
    v.Setting("admission_count", admission_count,
              "Occurrences at which a key gets a row; before, it reads the unknown row.",
              Between(1, 255));
    v.Setting("ttl_s", ttl_s,
              "Rows not seen for longer, by the request times of the log, are evicted; 0: never.",
              Between(0, 4e9));
    v.Setting("frequency_min", frequency_min,
              "Rows whose decayed occurrences fall below it are evicted; 0: never.",
              Between(0, 255));
    v.Setting("frequency_half_life_s", frequency_half_life_s,
              "Time in which an occurrence counts half; 0: none decays. Budgets evict by it too.",
              Between(0, 4e9));
    v.Setting("bytes_max", bytes_max,
              "Bytes of the table, the least seen rows are evicted; 0: no limit.",
              Between(0, 9007199254740992.0));
  }
};

struct TrainConfig {
  int64_t seed = 1;
  std::string objective = "labels";
  std::string mode = "sts";
  double slice_s = 86400.0;
  std::string from;
  std::string until;
  int64_t passes = 1;
  std::string batch = "packed";
  int64_t batch_tokens = 8192;
  int64_t sparse_batch_tokens = 16384;
  int64_t window_size = 2048;
  int64_t window_train = 1024;
  int64_t shuffle_blocks = 64;
  double dense_lr = 1e-3;
  double weight_decay = 0.01;
  double warmup_fraction = 0.05;
  std::string decay = "linear";
  double final_lr_fraction = 0.1;
  double clip_norm = 1.0;
  std::string table_optimizer = "adagrad";
  double table_lr = 0.05;
  std::string table_precision = "f32";
  double table_init_std = 0.01;
  int64_t tables_bytes_max = 0;
  int64_t admission_sketch_bytes = 4194304;
  double id_dropout = 0.0;
  int64_t validations_per_pass = 1;
  int64_t patience = 2;
  int64_t checkpoint_steps = 1000;
  double checkpoint_minutes = 10.0;
  int64_t checkpoints_kept = 2;
  int64_t threads = 0;
  std::string precision = "f32";
  DualLossConfig dual_loss;
  PairwiseConfig pairwise;
  NextItemConfig next_item;
  std::vector<TableConfig> tables;

  template <class V>
  void Visit(V& v) {
    v.Setting("seed", seed, "Seed of everything random.", Between(0, 9007199254740992.0));
    v.Setting("objective", objective,
              "labels: predict the tasks; next_item: pre-train on the order of the history alone, "
              "for a later run's --warm-start.",
              OneOf({"labels", "next_item"}));
    v.Setting("mode", mode,
              "What a pass trains. sts: first the dense weights on packed users with the tables "
              "frozen, then the tables on shuffled single impressions through a head of their own; "
              "sts_packed: the same, the second stage on packed users too; end_to_end: everything "
              "at once, as DLRM, which has no stages, must.",
              OneOf({"sts", "sts_packed", "end_to_end"}));
    v.Setting("slice_s", slice_s,
              "With stages: a pass walks forward through its targets in slices of so many seconds "
              "of request time, each through both stages, so that the dense weights never read "
              "tables that have seen their labels; 0: all at once.",
              AtLeast(0));
    v.Setting("from", from,
              "ISO 8601 time with offset: only training targets requested from then on are "
              "trained, earlier events are history; empty: all.",
              Anything());
    v.Setting("until", until, "Only training targets requested before; empty: all.", Anything());
    v.Setting("passes", passes, "Passes over the training targets.", Between(1, 100000));
    v.Setting(
        "batch", batch,
        "packed: a user's events share one segment; impressions: shuffled single targets (only for "
        "models without history).",
        OneOf({"packed", "impressions"}));
    v.Setting("batch_tokens", batch_tokens, "Tokens per batch, partial and full of all channels.",
              Between(1, 1 << 26));
    v.Setting("sparse_batch_tokens", sparse_batch_tokens,
              "Tokens per batch of the stage that trains the tables.", Between(1, 1 << 26));
    v.Setting("window_size", window_size, "Events per training window of a user (S).",
              Between(1, 1 << 24));
    v.Setting("window_train", window_train, "Events trained per window (T), at most window_size.",
              Between(1, 1 << 24));
    v.Setting("shuffle_blocks", shuffle_blocks,
              "Shard blocks in memory whose users are shuffled together.", Between(1, 1 << 20));
    v.Setting("dense_lr", dense_lr, "Learning rate of dense weights (AdamW).", Between(0, 10));
    v.Setting("weight_decay", weight_decay, "Decoupled weight decay of dense matrices.",
              Between(0, 10));
    v.Setting("warmup_fraction", warmup_fraction, "Share of all steps with rising learning rates.",
              Between(0, 1));
    v.Setting("decay", decay, "Learning rates after warm-up.", OneOf({"none", "linear", "cosine"}));
    v.Setting("final_lr_fraction", final_lr_fraction, "Where decay ends, as a share of the rate.",
              Between(0, 1));
    v.Setting("clip_norm", clip_norm, "Largest norm of the dense gradient; 0: no clipping.",
              AtLeast(0));
    v.Setting("table_optimizer", table_optimizer, "Optimiser of embedding rows.",
              OneOf({"adagrad", "adam"}));
    v.Setting("table_lr", table_lr, "Learning rate of embedding rows.", Between(0, 100));
    v.Setting("table_precision", table_precision,
              "How embedding rows are stored. Rows of 16 bits are rounded at random after an "
              "update, so that small steps are not lost.",
              OneOf({"f32", "bf16", "f16"}));
    v.Setting("table_init_std", table_init_std, "Standard deviation of new embedding rows.",
              Between(0, 10));
    v.Setting("tables_bytes_max", tables_bytes_max,
              "Bytes of all embedding tables of the model; what is over is taken from each in "
              "proportion; 0: no limit.",
              Between(0, 9007199254740992.0));
    v.Setting("admission_sketch_bytes", admission_sketch_bytes,
              "Memory that counts the keys without a row, of each table with an admission_count; "
              "keys that share counters are admitted early.",
              Between(4096, 1e12));
    v.Setting("id_dropout", id_dropout,
              "Share of ids replaced by their table's unknown row in training, so that unseen ids "
              "score well.",
              Between(0, 0.99));
    v.Setting("validations_per_pass", validations_per_pass,
              "How often a pass is interrupted to validate.", Between(1, 1000));
    v.Setting(
        "patience", patience,
        "Stop after this many validations without a better log-loss, and keep the best; 0: never.",
        Between(0, 1000));
    v.Setting("checkpoint_steps", checkpoint_steps, "Steps between checkpoints.", Between(1, 1e12));
    v.Setting("checkpoint_minutes", checkpoint_minutes, "Minutes between checkpoints.",
              AtLeast(0.01));
    v.Setting("checkpoints_kept", checkpoints_kept, "Older checkpoints are removed.",
              Between(1, 1000));
    v.Setting(
        "threads", threads,
        "Workers that share each batch by its segments; 0: all of the machine, or as many as the "
        "resumed run had. Results are the same bits for the same number, and differ by rounding "
        "between numbers.",
        Between(0, 1024));
    v.Setting(
        "precision", precision,
        "Operands of the large matrix products of training steps: f32, or bf16 with f32 sums. "
        "Weights, everything else and evaluation are f32.",
        OneOf({"f32", "bf16"}));
    v.List("table", tables, "Embedding tables that differ from the table_* settings.");
    v.Section("dual_loss", dual_loss, "The base model's loss beside GRAB's, after a warm start.");
    v.Section("pairwise", pairwise, "Pairs of candidates of a page.");
    v.Section("next_item", next_item, "Pre-training on the next item.");
  }
};

// Training that follows a growing log, pass by pass.
struct FollowConfig {
  std::string from;
  int64_t range_s = 86400;
  int64_t context_s = 2592000;
  int64_t lateness_s = 3600;
  int64_t releases_kept = 3;
  int64_t full_every = 24;
  double poll_s = 60.0;

  template <class V>
  void Visit(V& v) {
    v.Setting("from", from,
              "ISO 8601 time with offset at which the first pass starts; needs an event_id in "
              "every [[events]].",
              Anything());
    v.Setting("range_s", range_s, "Time range of a pass: labels that become final in it.",
              Between(1, 1e9));
    v.Setting("context_s", context_s,
              "History that a pass reads before its range and the longest delay of a task; 0: all.",
              Between(0, 1e9));
    v.Setting("lateness_s", lateness_s,
              "A pass starts when the log has a request this long after its range. Events that "
              "come even later are history only, and counted.",
              Between(0, 1e9));
    v.Setting("releases_kept", releases_kept, "Older model releases are removed.",
              Between(1, 1000));
    v.Setting(
        "full_every", full_every,
        "Every n-th release is a whole model, the others hold what changed; 1: all are whole.",
        Between(1, 100000));
    v.Setting("poll_s", poll_s, "Pause between looks at the log for new events.",
              Between(0.01, 86400));
  }
};

// One model of a run: its architecture and how it is trained.
struct ModelRunConfig {
  ModelConfig model;
  TrainConfig train;

  template <class V>
  void Visit(V& v) {
    v.Section("model", model, "Architecture.");
    v.Section("train", train, "Training.");
  }
};

// Defaults of a model without history.
inline ModelRunConfig WithoutStages() {
  ModelRunConfig config;
  config.train.mode = "end_to_end";
  return config;
}

struct EvalConfig {
  int64_t batch_tokens = 16384;
  std::vector<std::string> slices;
  std::vector<int64_t> history_edges = {0, 5, 10, 20, 50, 100};
  int64_t slice_values_max = 20;

  template <class V>
  void Visit(V& v) {
    v.Setting("batch_tokens", batch_tokens, "Tokens per batch of evaluation and scoring.",
              Between(1, 1 << 26));
    v.Setting("slices", slices, "id and number fields by whose value metrics are also given.",
              Anything());
    v.Setting("history_edges", history_edges, "Upper bounds of the history-length slices.",
              AtLeast(0));
    v.Setting("slice_values_max", slice_values_max,
              "Most frequent values reported per sliced field; the rest is one slice.",
              Between(1, 10000));
  }
};

// The ad world (docs/simulator.md).
struct SimulateConfig {
  int64_t seed = 1;
  int64_t users = 8000;
  double days = 14.0;
  double ads_per_day = 400.0;
  double sessions_per_day = 0.4;
  int64_t chunk_rows = 200000;

  template <class V>
  void Visit(V& v) {
    v.Setting("seed", seed, "Seed of the world.", Between(0, 9007199254740992.0));
    v.Setting("users", users, "Users in the world.", Between(1, 1e9));
    v.Setting("days", days, "Days of log.", Between(0.1, 3650));
    v.Setting("ads_per_day", ads_per_day, "Ads born per day; they live hours to days.",
              Between(1, 5000));
    v.Setting("sessions_per_day", sessions_per_day, "Mean sessions of a user per day.",
              Between(0.001, 50));
    v.Setting("chunk_rows", chunk_rows, "Impressions per Parquet file; they are held in memory.",
              Between(1, 1e7));
  }
};

// A whole config file.
struct Config {
  std::string name;
  std::string data_dir;
  std::vector<SourceConfig> sources;
  std::vector<EventsConfig> events;
  std::vector<FieldConfig> fields;
  std::vector<ActionConfig> actions;
  std::vector<TaskConfig> tasks;
  SplitConfig split;
  PrepareConfig prepare;
  SimulateConfig simulate;
  FollowConfig follow;
  ModelRunConfig dlrm = WithoutStages();
  ModelRunConfig grab;
  EvalConfig eval;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the data set or experiment.", Anything());
    v.Setting("data_dir", data_dir, "Folder of the raw log; --data sets it.", Anything());
    v.List("source", sources, "Raw log files.");
    v.List("events", events, "Queries whose rows become events.");
    v.List("field", fields, "Features of an event.");
    v.List("action", actions, "Feedback bits, the most telling first.");
    v.List("task", tasks, "What is predicted; the first task is the main one.");
    v.Section("split", split, "Training, validation and test targets by time.");
    v.Section("prepare", prepare, "Raw log to shards.");
    v.Section("simulate", simulate, "The ad world.");
    v.Section("follow", follow, "Training that follows a growing log.");
    v.Section("dlrm", dlrm, "The DLRM baseline.");
    v.Section("grab", grab, "GRAB.");
    v.Section("eval", eval, "Evaluation.");
  }
};

}  // namespace grab
