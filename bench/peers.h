// What others do, runnable: the ATen composites of bench/aten_*.h as an attention layer, a training
// step and a ranking request. Their data loading is not counted.
#pragma once

#include <torch/optim/adamw.h>

#include <memory>
#include <vector>

#include "bench/aten_grab.h"
#include "bench/attention_problem.h"
#include "bench/ours_train.h"
#include "bench/world.h"
#include "train/net.h"

namespace grab::bench {

// One attention layer, forward and backward by autograd.
class AtenAttentionPeer {
 public:
  // Users [0, `segments`) of the problem.
  AtenAttentionPeer(const AttentionProblem& problem, const Layout& layout, int64_t segments);

  // Seconds of the layer; making buckets and masks, which layers share, is not counted.
  double Run();

 private:
  struct Part {
    Rectangle rectangle;
    torch::Tensor q, kv, d_out;
  };
  PairMaker pair_maker_;
  std::vector<Part> parts_;
  Codebooks codebooks_;
};

// One training step over micro-batches whose gradients add up. Look-up and table update are ours;
// the rest is libtorch's.
class AtenTrainPeer {
 public:
  // Users [0, `segments`) of the batch; all must outlive it.
  AtenTrainPeer(const World& world, const Batch& batch, const Layout& layout, int64_t segments);

  double Step();  // the loss

 private:
  const Batch& batch_;
  std::vector<EmbeddingTable> tables_;
  Lookup lookup_;
  AtenGrab grab_;
  std::vector<torch::Tensor> weights_;
  torch::optim::AdamW optimiser_;
  WorkerPool pool_{2};  // of the rows' update, which is ours
  std::vector<AtenBatch> batches_;
};

// Scores a batch of one user without gradients and without a cache.
class AtenRankPeer {
 public:
  // `model` and `batch` must outlive it.
  AtenRankPeer(const Model& model, const Batch& batch);

  torch::Tensor Logits();

 private:
  const Model& model_;
  const Batch& batch_;
  Lookup lookup_;
  AtenGrab grab_;
  std::vector<AtenBatch> batches_;
};

}  // namespace grab::bench
