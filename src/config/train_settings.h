// Settings of training (config/settings.h says how).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/setting.h"

namespace grab {

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

// Scoring that trains, after a run over fixed shards.
struct StreamingConfig {
  double slice_s = 0.0;
  double dense_rate = 0.1;
  double table_rate = 1.0;

  template <class V>
  void Visit(V& v) {
    v.Setting("slice_s", slice_s,
              "After the run, its best state walks through the validation and then the test "
              "targets in slices of so many seconds of request time, as a model does in "
              "production: each slice is scored, then trained on. Reported beside the scores of "
              "the model that stays as it is, and thrown away; 0: not done.",
              AtLeast(0));
    v.Setting("dense_rate", dense_rate,
              "Learning rate of dense weights meanwhile, as a share of dense_lr.", Between(0, 100));
    v.Setting("table_rate", table_rate,
              "Learning rate of embedding rows meanwhile, as a share of theirs.", Between(0, 100));
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
  bool restart_tables = false;
  std::string batch = "packed";
  int64_t batch_tokens = 8192;
  int64_t sparse_batch_tokens = 16384;
  int64_t window_size = 2048;
  int64_t window_train = 1024;
  int64_t shuffle_blocks = 64;
  double dense_lr = 1e-3;
  double weight_decay = 0.01;
  double recency_prior = 0.0;
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
  StreamingConfig streaming;
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
    v.Setting("passes", passes,
              "Passes over the training targets; --follow makes one over each part of the log.",
              Between(1, 100000));
    v.Setting("restart_tables", restart_tables,
              "Every pass but the first starts with empty tables, so that no row has seen the "
              "labels that the pass trains. --follow, which sees no label twice, never does that.",
              Anything());
    v.Setting(
        "batch", batch,
        "packed: a user's events share one segment; impressions: shuffled single targets (only for "
        "models without history).",
        OneOf({"packed", "impressions"}));
    v.Setting(
        "batch_tokens", batch_tokens,
        "Tokens per batch, partial and full of all channels. A packed batch reads up to layers x "
        "window_len tokens of history for its first target: twice that leaves room for more.",
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
    v.Setting("recency_prior", recency_prior,
              "GRAB's attention starts with a preference for recent events, which training may "
              "change: head h of H (from 0) lowers the logit of an event d tokens back by this "
              "times h / (H - 1) times ln(d); 0: none. Try 1 where the newest events tell the most "
              "and long windows lose.",
              Between(0, 100));
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
        "Stop after this many validations without a better log-loss; 0: never. The best is kept. "
        "With restart_tables, 0: the first pass with new tables is often worse than the one "
        "before.",
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
    v.Section("streaming", streaming, "Progressive evaluation of a run over fixed shards.");
  }
};

// Gradient-boosted trees on running counts (docs/zoo.md).
struct TreesConfig {
  int64_t seed = 1;
  std::vector<std::string> actions;
  int64_t rounds_max = 2000;
  int64_t early_stop_rounds = 50;
  int64_t depth_max = 6;
  double learning_rate = 0.05;
  double leaf_weight_min = 10.0;
  double l2 = 1.0;
  double subsample = 0.8;
  double columns_fraction = 0.5;
  double smoothing = 20.0;
  int64_t memory_limit_mb = 4096;
  int64_t threads = 0;

  template <class V>
  void Visit(V& v) {
    v.Setting("seed", seed, "Seed of the sampling of rows and columns.",
              Between(0, 9007199254740992.0));
    v.Setting("actions", actions,
              "Actions that are counted beside the tasks, as those are: how many, and their rate.",
              Anything());
    v.Setting("rounds_max", rounds_max, "Trees per task, at most.", Between(1, 100000));
    v.Setting("early_stop_rounds", early_stop_rounds,
              "Stop after this many trees without a better log-loss of the validation targets, and "
              "keep the best.",
              Between(1, 100000));
    v.Setting("depth_max", depth_max, "Depth of a tree, at most.", Between(1, 16));
    v.Setting("learning_rate", learning_rate, "Share of each tree's correction that is taken.",
              Between(1e-4, 1));
    v.Setting("leaf_weight_min", leaf_weight_min,
              "A leaf holds rows of at least this much summed p (1 - p).", Between(0, 1e9));
    v.Setting("l2", l2, "Penalty on the squares of leaf values.", Between(0, 1e9));
    v.Setting("subsample", subsample, "Share of the training targets that a tree sees.",
              Between(0.01, 1));
    v.Setting("columns_fraction", columns_fraction, "Share of the features that a tree sees.",
              Between(0.001, 1));
    v.Setting("smoothing", smoothing,
              "A rate is (positives + smoothing * rate of all) / (labels known + smoothing).",
              Between(1e-3, 1e9));
    v.Setting("memory_limit_mb", memory_limit_mb,
              "Data that needs more memory is refused before it is taken.", Between(1, 1e8));
    v.Setting("threads", threads, "Threads; 0: all of the machine.", Between(0, 1024));
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

}  // namespace grab
