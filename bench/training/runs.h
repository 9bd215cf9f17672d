// Training runs through `grab train`, each in a folder of its own, and what they log.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab::bench {

// The data set of a comparison.
struct RunData {
  std::string name;         // in figures
  std::string config_path;  // its config
  std::string shards_dir;   // prepared by it
  std::string out_dir;      // a folder per run; those that are complete are kept
};

struct Run {
  std::string name;  // of its folder, by RunFolder
  std::string model;
  std::vector<std::string> settings;  // of [MODEL.train]
  std::string warm_start;             // a run's folder; empty: none
};

// "sts, warm" of seed 1 is OUT/sts-warm-seed1.
std::string RunFolder(const RunData& data, const std::string& name, int64_t seed);

Status TrainRun(const RunData& data, const Run& run, int64_t seed);

// metrics.json of a complete run.
StatusOr<nlohmann::json> ReadMetrics(const std::string& dir);

// Lines of log.jsonl in order, until `visit` returns false.
Status ForEachLogLine(const std::string& dir,
                      const std::function<bool(const nlohmann::json&)>& visit);

std::optional<double> Number(const nlohmann::json& object, const char* key);

}  // namespace grab::bench
