// What training runs found, as tables on the screen and as JSON: results.json of `grab run`;
// comparison.h builds on it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

struct RowsAuc {
  uint64_t rows = 0;
  std::optional<double> auc;
};

// Test rows of what was new when the test began, and the others.
struct ColdWarm {
  RowsAuc cold;
  RowsAuc warm;
};

// Test metrics of the main task and the cost of training. A metric that is undefined on the test
// rows is nullopt.
struct RunMetrics {
  std::string model;
  std::optional<double> auc;
  std::optional<double> gauc;
  std::string gauc_by;  // "page" or "user"
  std::optional<double> logloss;
  std::optional<double> ne;
  std::optional<double> pcoc;
  // With histories stopped at the start of the test: the fair form of GAUC by user.
  std::optional<double> auc_frozen;
  std::optional<double> gauc_frozen;
  // Each slice of the test trained on after it was scored (train.streaming).
  std::optional<double> auc_streaming;
  // nullopt: the run does not tell them apart.
  std::optional<ColdWarm> users;
  std::optional<ColdWarm> items;
  uint64_t train_rows = 0;
  uint64_t test_rows = 0;
  double tokens_per_second = 0.0;
  double wall_seconds = 0.0;       // of the run with validation and test, streaming left out
  double scores_per_second = 0.0;  // of the test, by the training side
  uint64_t dense_weights = 0;
  uint64_t table_rows = 0;
  uint64_t table_bytes = 0;  // with optimiser state
};

// From the metrics.json of a training run. Errors name the file and the key.
StatusOr<RunMetrics> ReadRunMetrics(const std::string& path);

// A model over its seeds.
struct ModelResult {
  std::vector<int64_t> seeds;
  RunMetrics mean;  // a metric undefined for one seed is undefined
  std::vector<std::optional<double>> auc_by_seed;
  std::optional<double> auc_sd;  // sample standard deviation; nullopt with one seed
};

// `runs` are of one model, one per seed, not empty. Runs over different rows are an
// InvalidArgument.
StatusOr<ModelResult> MeanOverSeeds(const std::vector<int64_t>& seeds,
                                    const std::vector<RunMetrics>& runs);

struct Results {
  std::vector<ModelResult> models;
  double score_parity_max_abs_diff = 0.0;
  std::optional<double> true_auc;  // of simulated data
  std::string commit;              // empty: not known
  std::string cpu;                 // empty: not known
  int threads = 0;
  std::string rows_hash;
};

// The "score_parity_max_abs_diff" of the file that `grab score --compare` writes.
StatusOr<double> ReadScoreParity(const std::string& path);

nlohmann::json ToJson(const ModelResult& result);
nlohmann::json ToJson(const Results& results);
std::string ToText(const Results& results);

// The processor's name as Linux gives it, or empty.
std::string CpuName();

// The commit of the tree that `binary` was built in where it still lies there, or empty.
std::string CommitOf(const std::string& binary);

}  // namespace grab
