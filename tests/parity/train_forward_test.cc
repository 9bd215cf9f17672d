// The training forward and the libtorch-free forward give the same scores: within 1e-5 on logits of
// order 1 to 10, for both models, every kind of field, one and two channels, pre- and post-norm,
// batches with no history at all, and models that read none. With a shared latent 3e-5: each layer
// then has one more product with random weights, whose gain of 1.5 carries the rounding of what
// came before on.
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "support/net_weights.h"
#include "train/sparse.h"

namespace grab {
namespace {

void ExpectSameScores(const Config& config, ModelKind kind, uint64_t seed, int users, int events) {
  SCOPED_TRACE(::testing::Message() << ModelKindName(kind) << " seed " << seed << " users " << users
                                    << " events " << events);
  torch::NoGradGuard no_grad;
  const Model model = testing::MakeModel(config, kind, seed);
  const Net net(model.spec, 1);
  testing::CopyWeights(model, net);
  const Batch batch = testing::PackAll(
      model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, users, events));
  if (batch.full.rows == 0) return;
  const double tolerance = model.spec.latent_width > 0 ? 3e-5 : 1e-5;
  const std::vector<float> served = *Forward(model, 2).Logits(batch);
  const BatchLookup lookup = Lookup(model.spec.tokens).Find(batch, model.tables);
  const torch::Tensor logits =
      net.Forward(batch, lookup, GatherRows(model.tables, lookup, false)).contiguous();
  ASSERT_EQ(static_cast<size_t>(logits.numel()), served.size());
  for (size_t i = 0; i < served.size(); ++i) {
    const float trained = logits.data_ptr<float>()[i];
    ASSERT_NEAR(served[i], trained, tolerance * (1.0 + std::abs(trained))) << "logit " << i;
  }
}

TEST(ForwardParity, GrabInAllVariants) {
  for (const char* norm : {"pre", "post"}) {
    for (const size_t channels : {1u, 2u}) {
      for (uint64_t seed = 1; seed <= 8; ++seed) {
        Config config = testing::MakeConfig();
        config.grab.model.norm = norm;
        config.grab.model.channels.resize(channels);
        config.grab.model.layers = 1 + static_cast<int64_t>(seed % 3);
        config.grab.model.latent_width = seed % 2 == 0 ? 4 : 0;
        config.grab.model.action_bias = seed != 3;
        ExpectSameScores(config, ModelKind::kGrab, seed, 5, 30);
        ExpectSameScores(config, ModelKind::kGrab, seed, 1, 1);  // no history
      }
    }
  }
}

// One channel of two sees nothing, or the only one.
TEST(ForwardParity, GrabWithoutHistory) {
  for (const size_t channels : {1u, 2u}) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      Config config = testing::MakeConfig();
      config.grab.model.channels.resize(channels);
      config.grab.model.channels[0].window_len = 0;
      config.grab.model.latent_width = seed % 2 == 0 ? 4 : 0;
      ExpectSameScores(config, ModelKind::kGrab, seed, 5, 30);
    }
  }
}

TEST(ForwardParity, Dlrm) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    ExpectSameScores(testing::MakeConfig(), ModelKind::kDlrm, seed, 5, 30);
  }
}

TEST(ForwardParity, RealisticSizes) {
  Config config = testing::MakeConfig();
  ModelConfig& model = config.grab.model;
  model.embedding_dim = 16;
  model.tokenizer_hidden = 128;
  model.d_model = 64;
  model.heads = 4;
  model.ffn_hidden = 128;
  model.channels[0].window_len = 50;
  ExpectSameScores(config, ModelKind::kGrab, 3, 10, 200);
}

}  // namespace
}  // namespace grab
