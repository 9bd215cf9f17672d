// Optimisers against hand-written formulas, the schedule at its corners, the loss with unknown
// labels, determinism of the initial weights.
#include <gtest/gtest.h>

#include <cmath>

#include "support/net_weights.h"
#include "train/adamw.h"
#include "train/loss.h"
#include "train/schedule.h"

namespace grab {
namespace {

TEST(AdamW, FollowsAlgorithmTwoOnAScalarSequence) {
  const std::vector<double> gradients = {0.5, -2.0, 0.0, 3.0};
  torch::Tensor weight = torch::full({1, 1}, 1.5, torch::kFloat64).requires_grad_(true);
  AdamW optimiser({{"w", weight}}, 0.1);
  double expected = 1.5, m = 0, v = 0;
  for (size_t t = 0; t < gradients.size(); ++t) {
    weight.mutable_grad() = torch::full({1, 1}, gradients[t], torch::kFloat64);
    optimiser.Step(0.01);
    m = 0.9 * m + 0.1 * gradients[t];
    v = 0.999 * v + 0.001 * gradients[t] * gradients[t];
    expected *= 1 - 0.01 * 0.1;
    const double n = static_cast<double>(t) + 1;
    expected -=
        0.01 * (m / (1 - std::pow(0.9, n))) / (std::sqrt(v / (1 - std::pow(0.999, n))) + 1e-8);
    EXPECT_NEAR(weight.item<double>(), expected, 1e-12) << "step " << t;
    EXPECT_FALSE(weight.grad().defined());
  }
}

TEST(AdamW, DecaysMatricesOnly) {
  torch::Tensor matrix = torch::ones({2, 2}).requires_grad_(true);
  torch::Tensor bias = torch::ones({2}).requires_grad_(true);
  AdamW optimiser({{"matrix", matrix}, {"bias", bias}}, 0.5);
  matrix.mutable_grad() = torch::zeros({2, 2});
  bias.mutable_grad() = torch::zeros({2});
  optimiser.Step(0.1);
  EXPECT_FLOAT_EQ(matrix[0][0].item<float>(), 0.95f);
  EXPECT_FLOAT_EQ(bias[0].item<float>(), 1.0f);
}

TEST(ClipGradients, ScalesTheJointNorm) {
  torch::Tensor a = torch::zeros({1}).requires_grad_(true),
                b = torch::zeros({1}).requires_grad_(true);
  a.mutable_grad() = torch::full({1}, 3.0f);
  b.mutable_grad() = torch::full({1}, 4.0f);
  const std::vector<std::pair<std::string, torch::Tensor>> weights = {{"a", a}, {"b", b}};
  EXPECT_NEAR(ClipGradients(weights, 0.0), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(a.grad().item<float>(), 3.0f);
  EXPECT_NEAR(ClipGradients(weights, 1.0), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(a.grad().item<float>(), 0.6f);
  EXPECT_FLOAT_EQ(b.grad().item<float>(), 0.8f);
  EXPECT_NEAR(ClipGradients(weights, 10.0), 1.0, 1e-6);
  EXPECT_FLOAT_EQ(b.grad().item<float>(), 0.8f);
}

TEST(Schedule, WarmsUpAndDecaysToItsCorners) {
  TrainConfig config;
  config.warmup_fraction = 0.1;
  config.final_lr_fraction = 0.2;
  for (const char* decay : {"none", "linear", "cosine"}) {
    config.decay = decay;
    EXPECT_NEAR(LearningRateFactor(config, 0.05), 0.5, 1e-12) << decay;
    EXPECT_NEAR(LearningRateFactor(config, 0.1), 1.0, 1e-12) << decay;
    const bool none = config.decay == "none";
    EXPECT_NEAR(LearningRateFactor(config, 0.55), none ? 1.0 : 0.6, 1e-12) << decay;
    EXPECT_NEAR(LearningRateFactor(config, 1.0), none ? 1.0 : 0.2, 1e-12) << decay;
    EXPECT_NEAR(LearningRateFactor(config, 1.5), none ? 1.0 : 0.2, 1e-12) << decay;
  }
}

TEST(ClickLoss, AveragesEachTaskOverItsKnownLabels) {
  Batch batch;
  batch.full.rows = 3;
  batch.labels = {1, 0, 2};
  batch.labels_known = {1, 1, 2};  // task 0 known for rows 0 and 1, task 1 for row 2
  const torch::Tensor logits =
      torch::tensor({{0.3, 9.0}, {-0.2, 9.0}, {9.0, 0.7}}, torch::kFloat64);
  const auto bce = [](double x, double y) { return std::log1p(std::exp(x)) - x * y; };
  const double expected = 2.0 * (bce(0.3, 1) + bce(-0.2, 0)) / 2 + 0.5 * bce(0.7, 1);
  EXPECT_NEAR(ClickLoss(logits, batch, RowWeights(batch, {2.0, 0.5})).item<double>(), expected,
              1e-12);
  batch.labels_known = {1, 1, 0};
  EXPECT_NEAR(ClickLoss(logits, batch, RowWeights(batch, {2.0, 0.5})).item<double>(),
              2.0 * (bce(0.3, 1) + bce(-0.2, 0)) / 2, 1e-12);
}

TEST(Net, InitialWeightsDependOnTheSeedAlone) {
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  torch::manual_seed(1);
  const Net a(model.spec, 5);
  torch::manual_seed(2);
  const Net b(model.spec, 5), c(model.spec, 6);
  bool differs = false;
  for (size_t i = 0; i < a.weights().size(); ++i) {
    EXPECT_TRUE(torch::equal(a.weights()[i].second, b.weights()[i].second)) << a.weights()[i].first;
    differs = differs || !torch::equal(a.weights()[i].second, c.weights()[i].second);
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace grab
