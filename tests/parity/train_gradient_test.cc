// Gradients of every dense weight and every embedding row against central differences of the loss,
// in f64.
#include <gtest/gtest.h>

#include "support/gradient_check.h"
#include "support/net_weights.h"
#include "train/loss.h"
#include "train/sparse.h"

namespace grab {
namespace {

void CheckModel(const Config& config, ModelKind kind, uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << ModelKindName(kind) << " seed " << seed);
  const Model model = testing::MakeModel(config, kind, seed);
  const Net net(model.spec, 1, torch::kFloat64);
  testing::CopyWeights(model, net);
  const Batch batch =
      testing::PackAll(model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, 3, 12));
  const BatchLookup lookup = Lookup(model.spec.tokens).Find(batch, model.tables);
  const std::vector<torch::Tensor> rows = GatherRows(model.tables, lookup, true, torch::kFloat64);
  const auto loss = [&] {
    const std::vector<double> weights = RowWeights(batch, {1.0, 0.5});
    const NetOutputs outputs = net.Run(batch, lookup, rows, false);
    const torch::Tensor main = LabelLoss(outputs.logits, batch, weights);
    if (!outputs.search_logits.defined()) return main;
    return main + LabelLoss(outputs.search_logits, batch, weights);
  };
  loss().backward();
  const auto value = [&] { return loss().item<double>(); };
  for (const auto& [name, weight] : net.weights()) testing::CheckGradient(name, weight, value);
  for (size_t t = 0; t < rows.size(); ++t) {
    if (rows[t].numel() > 0)
      testing::CheckGradient(model.spec.tokens.tables[t].name, rows[t], value);
  }
}

TEST(Gradients, Grab) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    for (const char* norm : {"pre", "post"}) {
      Config config = testing::MakeConfig();
      config.grab.model.norm = norm;
      config.grab.model.latent_width = seed == 1 ? 0 : 3;
      CheckModel(config, ModelKind::kGrab, seed);
    }
  }
}

// What search finds has no gradient: the differences are too small to change it.
TEST(Gradients, OthersOfTheZoo) {
  for (const ModelKind kind :
       {ModelKind::kDin, ModelKind::kSim, ModelKind::kEta, ModelKind::kTwin, ModelKind::kHstu}) {
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      Config config = testing::MakeConfig();
      if (seed == 1) config.sim.model.search.field = "ad";
      CheckModel(config, kind, seed);
    }
  }
}

TEST(Gradients, Dlrm) { CheckModel(testing::MakeConfig(), ModelKind::kDlrm, 3); }

}  // namespace
}  // namespace grab
