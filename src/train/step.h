// One optimiser step: look-up, forward, backward, clipping, updates. What a stage freezes has no
// gradient, so nothing moves it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "batch/batch.h"
#include "train/data_parallel.h"
#include "train/run_state.h"

namespace grab {

struct StepResult {
  BatchLoss loss;
  double gradient_norm = 0.0;  // of the dense weights, before clipping
};

// Where the time of all steps went.
struct StepSeconds {
  double look_up = 0.0;  // keys to rows, rows copied out
  double forward = 0.0;
  double backward = 0.0;
  double dense_update = 0.0;  // gradient norm and AdamW
  double table_update = 0.0;
};

// Factors on the learning rates of dense weights and of embedding rows.
struct RateFactors {
  double dense = 1.0;
  double tables = 1.0;
};

class StepRunner {
 public:
  // The references must outlive it. `popularity`: for the next-item objective, else nullptr.
  StepRunner(const ModelSpec& spec, const TrainConfig& config,
             const std::vector<double>& task_weights, const ItemPopularity* popularity,
             RunState& state, int threads, Precision precision);

  // Trains on `batch` and counts it; learning rates times `rates`. A loss or gradient
  // that is not finite is a DataLoss that describes the batch, and updates nothing.
  StatusOr<StepResult> Step(Stage stage, const Batch& batch, const RateFactors& rates);

  // Logits [batch.full.rows, tasks] with the weights and tables as they are.
  std::vector<float> Logits(Stage stage, const Batch& batch);

  // Tensors of a step beside weights and moments; the most so far.
  int64_t step_peak_bytes() const { return step_peak_bytes_; }
  const StepSeconds& seconds() const { return seconds_; }

 private:
  BatchLookup LookUp(Stage stage, const Batch& batch);
  void Count(Stage stage, const Batch& batch, const BatchLoss& loss);

  const TrainConfig& config_;
  RunState& state_;
  Objectives objectives_;
  Lookup lookup_;
  DataParallel workers_;
  int64_t step_peak_bytes_ = 0;
  StepSeconds seconds_;
};

}  // namespace grab
