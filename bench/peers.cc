#include "bench/peers.h"

#include <torch/nn/utils/clip_grad.h>
#include <torch/utils.h>

#include "base/clock.h"
#include "train/sparse.h"

namespace grab::bench {
namespace {

constexpr Layout kNoPadding = {Layout::kSegments, 1};

std::vector<std::pair<std::string, torch::Tensor>> Tensors(const Model& model) {
  std::vector<std::pair<std::string, torch::Tensor>> weights;
  for (const WeightSpec& weight : model.spec.Weights()) {
    weights.emplace_back(weight.name,
                         torch::tensor(model.weights.at(weight.name)).reshape(weight.shape));
  }
  return weights;
}

std::vector<torch::Tensor> Values(const std::map<std::string, torch::Tensor>& weights) {
  std::vector<torch::Tensor> values;
  for (const auto& [name, weight] : weights) values.push_back(weight);
  return values;
}

// The first micro-batches of a batch, `segments` users in all.
std::vector<AtenBatch> FirstUsers(std::vector<AtenBatch> batches, const Layout& layout,
                                  int64_t segments) {
  if (layout.kind == Layout::kPadded) {
    batches.resize(std::min(batches.size(),
                            static_cast<size_t>((segments + layout.users - 1) / layout.users)));
  }
  return batches;
}

}  // namespace

AtenAttentionPeer::AtenAttentionPeer(const AttentionProblem& problem, const Layout& layout,
                                     int64_t segments)
    : pair_maker_(problem.spec, 0),
      codebooks_{problem.codebook_position.clone().requires_grad_(true),
                 problem.codebook_time.clone().requires_grad_(true),
                 problem.codebook_action.clone().requires_grad_(true)} {
  const Segments all(problem.batch);
  const PaddedChannel channel = MakeChannel(problem.batch, all, 0, layout, 0, segments);
  // Padding reads one more row, of zeros.
  std::vector<int64_t> index = channel.row_of;
  for (int64_t& row : index) row = row < 0 ? problem.q.size(0) : row;
  const torch::Tensor rows = torch::tensor(index, torch::kInt64);
  const auto padded = [&](const torch::Tensor& x, const Rectangle& r) {
    const torch::Tensor with_zeros = torch::cat({x, torch::zeros({1, x.size(1)}, x.options())});
    const auto part = [&](int64_t begin, int64_t count) {
      return with_zeros.index_select(0, rows.narrow(0, begin, r.users * count))
          .reshape({r.users, count, x.size(1)});
    };
    return torch::cat(
        {part(r.partial_begin, r.partial), part(channel.partial_rows + r.full_begin, r.full)}, 1);
  };
  for (const Rectangle& r : channel.rectangles) {
    parts_.push_back({r, padded(problem.q, r).requires_grad_(true),
                      padded(problem.kv, r).requires_grad_(true), padded(problem.d_out, r)});
  }
}

double AtenAttentionPeer::Run() {
  double seconds = 0.0;
  for (Part& part : parts_) {
    const Pairs pairs = pair_maker_.Make(part.rectangle);
    const Stopwatch watch;
    AtenAttention(pairs, part.q, part.kv, codebooks_).backward(part.d_out);
    seconds += watch.Seconds();
    part.q.mutable_grad() = torch::Tensor();
    part.kv.mutable_grad() = torch::Tensor();
  }
  for (torch::Tensor* codebook : {&codebooks_.position, &codebooks_.time, &codebooks_.action}) {
    codebook->mutable_grad() = torch::Tensor();
  }
  return seconds;
}

AtenTrainPeer::AtenTrainPeer(const World& world, const Batch& batch, const Layout& layout,
                             int64_t segments)
    : batch_(batch),
      tables_(MakeTables(world, SparseOptimiser::kAdagrad)),
      lookup_(world.spec.tokens),
      grab_(world.spec, Net(world.spec, kSeed).weights()),
      weights_(Values(grab_.weights())),
      optimiser_(weights_,
                 torch::optim::AdamWOptions(kDenseRate).weight_decay(kWeightDecay).eps(1e-8)),
      batches_(FirstUsers(
          MakeAtenBatches(world.spec, batch, lookup_.FindOrInsert(batch, {}, tables_), layout),
          layout, segments)) {}

double AtenTrainPeer::Step() {
  const BatchLookup lookup = lookup_.FindOrInsert(batch_, {}, tables_);
  const std::vector<torch::Tensor> rows = GatherRows(tables_, lookup, true);
  optimiser_.zero_grad();
  double value = 0.0;
  for (const AtenBatch& part : batches_) {
    const torch::Tensor loss = grab_.Loss(part, rows);
    value += loss.item<double>();
    loss.backward();
  }
  torch::nn::utils::clip_grad_norm_(weights_, kClipNorm);
  optimiser_.step();
  UpdateRows(lookup, rows, 1.0, tables_, pool_);
  return value;
}

AtenRankPeer::AtenRankPeer(const Model& model, const Batch& batch)
    : model_(model),
      batch_(batch),
      lookup_(model.spec.tokens),
      grab_(model.spec, Tensors(model)),
      batches_(MakeAtenBatches(model.spec, batch, lookup_.Find(batch, model.tables), kNoPadding)) {}

torch::Tensor AtenRankPeer::Logits() {
  torch::NoGradGuard no_grad;
  const BatchLookup lookup = lookup_.Find(batch_, model_.tables);
  return grab_.Forward(batches_[0], GatherRows(model_.tables, lookup, false));
}

}  // namespace grab::bench
