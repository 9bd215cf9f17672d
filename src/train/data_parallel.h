// Data-parallel training inside one process: a batch is dealt out by segments, every worker runs
// forward and backward of its part on one thread, and gradients are added in the order of workers.
// libtorch's own threads would split every operator instead, and wait for each other by spinning.
#pragma once

#include <torch/types.h>

#include <vector>

#include "base/worker_pool.h"
#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/spec.h"
#include "train/net.h"
#include "train/objective.h"

namespace grab {

struct BatchLoss {
  double total = 0.0;            // what is minimised
  double main = 0.0;             // of it, the stage's own loss (PartLoss)
  double forward_seconds = 0.0;  // mean of the workers'
};

class DataParallel {
 public:
  // `spec` and `net` must outlive it; workers read the weights of `net` where they lie.
  // `precision`: of Backward's products. libtorch's own threads are set to 1, for the calling
  // thread too.
  DataParallel(const ModelSpec& spec, const Net& net, int threads,
               Precision precision = Precision::kF32);

  int threads() const { return pool_.threads(); }
  WorkerPool& pool() { return pool_; }

  // The loss of `batch`. Its gradients are left in the weights of `net` and, where they ask for
  // one, in `rows` (the leaves of GatherRows), as .grad(). The same arguments and threads give the
  // same bits; another number of threads adds in another order.
  BatchLoss Backward(const Batch& batch, const BatchLookup& lookup,
                     const std::vector<torch::Tensor>& rows, const Objective& objective);

  // Logits [batch.full.rows, tasks] of `forward`, row by row, in the net's own precision.
  std::vector<float> Logits(const Batch& batch, const BatchLookup& lookup,
                            const std::vector<torch::Tensor>& rows, const PartForward& forward);

 private:
  // One worker's own leaves: they share storage with the net's weights and the batch's rows, and
  // have gradients of their own.
  struct Worker {
    Net net;
    std::vector<torch::Tensor> rows;
    BatchLoss loss;
  };
  void AddGradients(size_t parts, const std::vector<torch::Tensor>& rows);

  const ModelSpec& spec_;
  const Net& net_;
  WorkerPool pool_;
  std::vector<Worker> workers_;
};

}  // namespace grab
