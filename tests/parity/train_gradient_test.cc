// Gradients of every dense weight and every embedding row against central differences of the loss,
// in f64. With step 1e-6 the difference itself is good to about 1e-9 of a loss of order 1; 1e-7 is
// asked.
#include <gtest/gtest.h>

#include "support/net_weights.h"
#include "train/loss.h"
#include "train/sparse.h"

namespace grab {
namespace {

constexpr double kStep = 1e-6;
constexpr int64_t kElementsMax = 6;  // checked per tensor, evenly spread

void CheckTensor(const std::string& name, torch::Tensor tensor,
                 const std::function<double()>& loss) {
  torch::NoGradGuard no_grad;
  ASSERT_TRUE(tensor.grad().defined()) << name;
  const torch::Tensor gradient = tensor.grad().contiguous();
  double* values = tensor.data_ptr<double>();
  const int64_t stride = std::max<int64_t>(1, tensor.numel() / kElementsMax);
  for (int64_t i = 0; i < tensor.numel(); i += stride) {
    const double kept = values[i];
    values[i] = kept + kStep;
    const double up = loss();
    values[i] = kept - kStep;
    const double down = loss();
    values[i] = kept;
    const double expected = (up - down) / (2 * kStep);
    ASSERT_NEAR(gradient.data_ptr<double>()[i], expected, 1e-7 * (1 + std::abs(expected)))
        << name << " element " << i;
  }
}

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
    return ClickLoss(net.Forward(batch, lookup, rows), batch, RowWeights(batch, {1.0, 0.5}));
  };
  loss().backward();
  const auto value = [&] { return loss().item<double>(); };
  for (const auto& [name, weight] : net.weights()) CheckTensor(name, weight, value);
  for (size_t t = 0; t < rows.size(); ++t) {
    if (rows[t].numel() > 0) CheckTensor(model.spec.tokens.tables[t].name, rows[t], value);
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

TEST(Gradients, Dlrm) { CheckModel(testing::MakeConfig(), ModelKind::kDlrm, 3); }

}  // namespace
}  // namespace grab
