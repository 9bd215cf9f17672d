// Optimisers against hand-written formulas, the schedule at its corners, the loss with unknown
// labels, determinism of the initial weights, what attention starts with.
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>
#include <set>

#include "kernels/rab_buckets.h"
#include "support/net_weights.h"
#include "train/adamw.h"
#include "train/dual_loss.h"
#include "train/loss.h"
#include "train/recency_prior.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/stage.h"
#include "train/table_options.h"
#include "train/tensor_memory.h"

namespace grab {
namespace {

TEST(AdamW, FollowsAlgorithmTwoOnAScalarSequence) {
  const std::vector<double> gradients = {0.5, -2.0, 0.0, 3.0};
  torch::Tensor weight = torch::full({1, 1}, 1.5, torch::kFloat64).requires_grad_(true);
  AdamW optimiser({{"w", weight}}, 0.1);
  WorkerPool pool(1);
  double expected = 1.5, m = 0, v = 0;
  for (size_t t = 0; t < gradients.size(); ++t) {
    weight.mutable_grad() = torch::full({1, 1}, gradients[t], torch::kFloat64);
    optimiser.Step(0.01, 1.0, pool);
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

// A weight that takes no part in some steps (a stage freezes it) is corrected by its own count.
TEST(AdamW, CountsAWeightsOwnSteps) {
  torch::Tensor early = torch::ones({3}).requires_grad_(true);
  torch::Tensor late = torch::ones({3}).requires_grad_(true);
  AdamW optimiser({{"early", early}, {"late", late}}, 0.0);
  WorkerPool pool(1);
  early.mutable_grad() = torch::full({3}, 2.0f);
  optimiser.Step(0.1, 1.0, pool);
  const torch::Tensor after_first = early.detach().clone();
  for (int i = 0; i < 5; ++i) {
    early.mutable_grad() = torch::full({3}, 2.0f);
    optimiser.Step(0.1, 1.0, pool);
  }
  EXPECT_TRUE(torch::equal(late, torch::ones({3})));
  late.mutable_grad() = torch::full({3}, 2.0f);
  optimiser.Step(0.1, 1.0, pool);
  EXPECT_TRUE(torch::equal(late, after_first));
  EXPECT_EQ(optimiser.steps(), (std::vector<int64_t>{6, 1}));
}

TEST(AdamW, DecaysMatricesOnly) {
  torch::Tensor matrix = torch::ones({2, 2}).requires_grad_(true);
  torch::Tensor bias = torch::ones({2}).requires_grad_(true);
  AdamW optimiser({{"matrix", matrix}, {"bias", bias}}, 0.5);
  WorkerPool pool(2);
  matrix.mutable_grad() = torch::zeros({2, 2});
  bias.mutable_grad() = torch::zeros({2});
  optimiser.Step(0.1, 0.5, pool);
  EXPECT_FLOAT_EQ(matrix[0][0].item<float>(), 0.95f);
  EXPECT_FLOAT_EQ(bias[0].item<float>(), 1.0f);
}

TEST(AdamW, TheScaleIsTheGradients) {
  for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
    torch::Tensor a = torch::ones({5}, type).requires_grad_(true);
    torch::Tensor b = torch::ones({5}, type).requires_grad_(true);
    AdamW first({{"w", a}}, 0.0), second({{"w", b}}, 0.0);
    WorkerPool pool(1);
    for (const double gradient : {1.0, -4.0}) {
      a.mutable_grad() = torch::full({5}, gradient, type);
      b.mutable_grad() = torch::full({5}, 0.25 * gradient, type);
      first.Step(0.1, 0.25, pool);
      second.Step(0.1, 1.0, pool);
    }
    EXPECT_TRUE(torch::equal(a, b));  // a quarter is exact
    EXPECT_NE(a[0].item<double>(), 1.0);
  }
}

TEST(GradientNorm, IsJointAndClipsToTheLimit) {
  torch::Tensor a = torch::zeros({1}).requires_grad_(true),
                b = torch::zeros({1}).requires_grad_(true),
                none = torch::zeros({1}).requires_grad_(true);
  a.mutable_grad() = torch::full({1}, 3.0f);
  b.mutable_grad() = torch::full({1}, 4.0f);
  WorkerPool pool(2);
  EXPECT_NEAR(GradientNorm({{"a", a}, {"none", none}, {"b", b}}, pool), 5.0, 1e-6);
  EXPECT_EQ(ClipFactor(5.0, 0.0), 1.0);
  EXPECT_EQ(ClipFactor(5.0, 1.0), 0.2);
  EXPECT_EQ(ClipFactor(5.0, 5.0), 1.0);
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

TEST(LabelLoss, AveragesEachTaskOverItsKnownLabels) {
  Batch batch;
  batch.full.rows = 3;
  batch.labels = {1, 0, 2};
  batch.labels_known = {1, 1, 2};  // task 0 known for rows 0 and 1, task 1 for row 2
  const torch::Tensor logits =
      torch::tensor({{0.3, 9.0}, {-0.2, 9.0}, {9.0, 0.7}}, torch::kFloat64);
  const auto bce = [](double x, double y) { return std::log1p(std::exp(x)) - x * y; };
  const double expected = 2.0 * (bce(0.3, 1) + bce(-0.2, 0)) / 2 + 0.5 * bce(0.7, 1);
  EXPECT_NEAR(LabelLoss(logits, batch, RowWeights(batch, {2.0, 0.5})).item<double>(), expected,
              1e-12);
  batch.labels_known = {1, 1, 0};
  EXPECT_NEAR(LabelLoss(logits, batch, RowWeights(batch, {2.0, 0.5})).item<double>(),
              2.0 * (bce(0.3, 1) + bce(-0.2, 0)) / 2, 1e-12);
}

// Counts are of whole blocks: of new ones at most an eighth (and 512 bytes) more than the tensor.
// Last, as the allocator stays.
TEST(TensorMemory, CountsTensorsAndKeepsTheirBlocks) {
  InstallTensorMemory();
  ResetTensorMemoryPeak();
  const int64_t before = ReadTensorMemory().in_use;
  for (const int64_t n : {1, 127, 128, 129, 144, 145, 1000, 123457, 1 << 20}) {
    const void* place = nullptr;
    for (int round = 0; round < 2; ++round) {
      const torch::Tensor tensor = torch::empty({n}, torch::kFloat32);
      const int64_t bytes = ReadTensorMemory().in_use - before;
      EXPECT_GE(bytes, 4 * n);
      EXPECT_LE(bytes, 4 * n + n / 2 + 512);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u);
      if (round == 1) {
        EXPECT_EQ(tensor.data_ptr(), place) << n;
      }
      place = tensor.data_ptr();
    }
    EXPECT_EQ(ReadTensorMemory().in_use, before);
    EXPECT_GE(ReadTensorMemory().peak - before, 4 * n);
  }
  torch::empty({0}, torch::kFloat32);
  // The last block also holds what is a little smaller, and is counted whole; not what is much so.
  const void* place = torch::empty({1 << 20}, torch::kFloat32).data_ptr();
  const torch::Tensor smaller = torch::empty({(1 << 20) * 7 / 10}, torch::kFloat32);
  EXPECT_EQ(smaller.data_ptr(), place);
  EXPECT_EQ(ReadTensorMemory().in_use - before, 4 << 20);
  const void* freed = torch::empty({1 << 20}, torch::kFloat32).data_ptr();
  EXPECT_NE(torch::empty({(1 << 20) * 6 / 10}, torch::kFloat32).data_ptr(), freed);
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

// The bias that every query starts with, from the weights and DESIGN 3.3: -m_h ln(distance), where
// a bucket holds one distance, and between those of its ends elsewhere. What is random in a
// codebook row, N(0, .02^2) summed over the head's width and divided by its root, stays below .1 (5
// of its standard deviations).
TEST(PreferRecent, BiasFallsWithTheLogarithmOfTheDistance) {
  constexpr double kSlope = 1.5, kRandom = 0.1;
  Config config = testing::MakeConfig();
  config.grab.model.d_model = 32;
  config.grab.model.position_buckets = 12;
  config.grab.model.channels[0].window_len = 100;
  for (const int64_t heads : {1, 4}) {
    config.grab.model.heads = heads;
    const Model model = testing::MakeModel(config, ModelKind::kGrab, 1);
    const ModelSpec& spec = model.spec;
    const Net before(spec, 5), net(spec, 5);
    PreferRecent(spec, kSlope, net.w());
    std::set<std::string> changed;
    for (size_t c = 0; c < spec.channels.size(); ++c) {
      for (int64_t layer = 0; layer < spec.layers; ++layer) {
        const std::string prefix = LayerPrefix(c, layer) + "attention.";
        changed.insert({prefix + "qkv.bias", prefix + "codebook_position"});
        const torch::Tensor bias = net.w()[prefix + "qkv.bias"].detach();
        EXPECT_EQ(bias.slice(0, spec.d_model).abs().sum().item<float>(), 0.0f);
        const torch::Tensor query = bias.slice(0, 0, spec.d_model).reshape({heads, -1});
        const torch::Tensor starts =
            (net.w()[prefix + "codebook_position"].detach() * query.unsqueeze(1)).sum(2) /
            std::sqrt(static_cast<double>(spec.head_width()));
        const auto bucket = PositionBuckets(spec.position_buckets, spec.DistanceMax(c));
        for (int64_t h = 0; h < heads; ++h) {
          const double m = heads == 1 ? kSlope : kSlope * static_cast<double>(h) / 3.0;
          for (size_t distance = 1; distance < bucket.size(); ++distance) {
            const auto same = std::equal_range(bucket.begin() + 1, bucket.end(), bucket[distance]);
            const double nearest = static_cast<double>(same.first - bucket.begin());
            const double farthest = static_cast<double>(same.second - bucket.begin() - 1);
            const auto start = starts[h][bucket[distance]].item<double>();
            EXPECT_LE(start, -m * std::log(nearest) + kRandom) << h << " " << distance;
            EXPECT_GE(start, -m * std::log(farthest) - kRandom) << h << " " << distance;
          }
        }
      }
    }
    for (const auto& [name, weight] : net.weights()) {
      EXPECT_EQ(torch::equal(weight, before.w()[name]), changed.count(name) == 0) << name;
    }
  }
}

TEST(PreferRecent, IsWhatARunStartsWithIfAsked) {
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  TrainConfig config;
  const std::string name = LayerPrefix(0, 0) + "attention.qkv.bias";
  EXPECT_EQ(RunState(model.spec, config).net.w()[name].abs().sum().item<float>(), 0.0f);
  config.recency_prior = 1.0;
  EXPECT_EQ(RunState(model.spec, config).net.w()[name].sum().item<float>(),
            static_cast<float>(model.spec.d_model));
}

// Losses fall by 2 % a window, then by less than 1 %: the plateau is that window's end, and the
// weight falls linearly to 0 from there.
TEST(DualLoss, IsHeldUntilThePlateauThenDecays) {
  DualLossConfig config;
  config.weight = 2.0;
  config.window_targets = 100;
  config.plateau = 0.01;
  config.decay_targets = 200;
  DualLossState state;
  int64_t targets = 0;
  double loss = 1.0;
  for (int window = 0; window < 6; ++window) {
    for (int batch = 0; batch < 4; ++batch) {
      EXPECT_EQ(DualLossWeight(config, state, targets), 2.0) << "window " << window;
      targets += 25;
      ObserveLoss(config, loss, 25, targets, state);
    }
    loss *= window < 4 ? 0.98 : 0.995;
  }
  EXPECT_EQ(state.plateau_at, 600);
  EXPECT_EQ(DualLossWeight(config, state, 600), 2.0);
  EXPECT_EQ(DualLossWeight(config, state, 650), 1.5);
  EXPECT_EQ(DualLossWeight(config, state, 800), 0.0);
  EXPECT_EQ(DualLossWeight(config, state, 10000), 0.0);
  const DualLossState before = state;
  ObserveLoss(config, 0.1, 25, 900, state);
  EXPECT_EQ(state.plateau_at, before.plateau_at);
}

// Otherwise a pass could know a row of the one before by what it started with.
TEST(MakeTables, RowsOfAPassThatRestartsStartDifferently) {
  ModelSpec spec;
  spec.tokens.tables = {{"item", 8}};
  const auto first_values = [&](bool restart_tables, int64_t pass) {
    TrainConfig config;
    config.restart_tables = restart_tables;
    EmbeddingTable table = std::move(MakeTables(spec, config, pass)[0]);
    std::vector<float> values(8);
    table.Read(table.FindOrInsert(7), values.data());
    return values;
  };
  EXPECT_EQ(first_values(true, 0), first_values(false, 0));
  EXPECT_EQ(first_values(true, 1), first_values(true, 1));
  EXPECT_NE(first_values(true, 1), first_values(true, 0));
  EXPECT_NE(first_values(true, 2), first_values(true, 1));
  EXPECT_EQ(first_values(false, 1), first_values(false, 0));
}

TEST(Stages, OfEachMode) {
  TrainConfig config;
  for (const char* mode : {"sts", "sts_packed"}) {
    config.mode = mode;
    EXPECT_EQ(StagesOf(config), (std::vector<Stage>{Stage::kSequence, Stage::kSparse})) << mode;
  }
  config.mode = "end_to_end";
  EXPECT_EQ(StagesOf(config), (std::vector<Stage>{Stage::kJoint}));
}

}  // namespace
}  // namespace grab
