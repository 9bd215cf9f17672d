// Every setting of grab, declared once: its C++ member and default, its key, range and help.
//
// A section is a struct with a `Visit` that shows each member to a visitor. Parsing, --set,
// dumping, --help and docs/config.md are visitors (config/config.h), so a setting added here is
// complete. A visitor provides:
//   v.Setting("key", member, "help", constraint)  bool, int64_t, double, std::string, vectors of
//                                                 them, map of strings
//   v.Section("key", struct, "help")              a table with a Visit of its own
//   v.List("key", vector<struct>, "help")         an array of tables
// Units stand last in names. A default here is the default everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/data_settings.h"
#include "config/model_settings.h"
#include "config/setting.h"
#include "config/train_settings.h"

namespace grab {

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
  std::string item;
  std::vector<int64_t> history_edges = {0, 5, 10, 20, 50, 100};
  int64_t slice_values_max = 20;

  template <class V>
  void Visit(V& v) {
    v.Setting("batch_tokens", batch_tokens, "Tokens per batch of evaluation and scoring.",
              Between(1, 1 << 26));
    v.Setting("slices", slices, "id and number fields by whose value metrics are also given.",
              Anything());
    v.Setting("item", item,
              "id field that names the item: candidates whose item is in no event requested before "
              "the split began are also measured apart. Empty: they are not.",
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
  TreesConfig trees;
  ModelRunConfig dlrm = WithoutStages();
  ModelRunConfig din;
  ModelRunConfig sim;
  ModelRunConfig eta;
  ModelRunConfig twin;
  ModelRunConfig hstu;
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
    v.Section("trees", trees, "Gradient-boosted trees on running counts (docs/zoo.md).");
    v.Section("dlrm", dlrm, "The DLRM baseline.");
    v.Section("din", din, "DIN: a candidate attends to the newest events (docs/zoo.md).");
    v.Section("sim", sim, "SIM: DIN beside events found by field or by embedding.");
    v.Section("eta", eta, "ETA: DIN beside events found by hash.");
    v.Section("twin", twin, "TWIN: DIN beside events found by the attention's own relevance.");
    v.Section("hstu", hstu, "HSTU: layers of pointwise attention with position and time bias.");
    v.Section("grab", grab, "GRAB.");
    v.Section("eval", eval, "Evaluation.");
  }
};

}  // namespace grab
