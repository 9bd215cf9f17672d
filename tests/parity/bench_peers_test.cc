// The peers of the benchmark compute what we compute: a peer that did less work would make us look
// slow, one that did other work would prove nothing. In f64 both sides differ only in the order of
// additions over at most 60 rows: 1e-10 relative to values of order 1. Scores are f32: 1e-5 as in
// train_forward_test, 1e-4 for the engine as in serve_engine_test.
#include <gtest/gtest.h>

#include "bench/ours_attention.h"
#include "bench/ours_rank.h"
#include "bench/peers.h"
#include "model/forward.h"
#include "train/loss.h"
#include "train/ops.h"
#include "train/sparse.h"

namespace grab::bench {
namespace {

constexpr Layout kLayouts[] = {
    {Layout::kPadded, 1}, {Layout::kPadded, 2}, {Layout::kPadded, 5}, {Layout::kSegments, 1}};

void ExpectClose(const torch::Tensor& got, const torch::Tensor& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  if (got.numel() == 0) return;
  const double worst = ((got - expected).abs() / (1 + expected.abs())).max().item<double>();
  EXPECT_LE(worst, tolerance) << what;
}

// Leaves that require gradients, as copies of a problem's operands.
struct Operands {
  torch::Tensor q, kv, position, time, action;

  explicit Operands(const AttentionProblem& p)
      : q(Leaf(p.q)),
        kv(Leaf(p.kv)),
        position(Leaf(p.codebook_position)),
        time(Leaf(p.codebook_time)),
        action(Leaf(p.codebook_action)) {}
  static torch::Tensor Leaf(const torch::Tensor& x) { return x.clone().requires_grad_(true); }
  std::vector<torch::Tensor> all() const { return {q, kv, position, time, action}; }
};

// The peer over the problem's own rows: padded, computed, and the padding dropped again.
torch::Tensor PeerAttention(const AttentionProblem& p, const Operands& x, const Layout& layout,
                            bool full_only) {
  const Segments segments(p.batch);
  const PaddedChannel channel = MakeChannel(p.batch, segments, 0, layout, 0, segments.size());
  std::vector<int64_t> from = channel.row_of, to(static_cast<size_t>(p.rows->rows()), -1);
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] >= 0) to[static_cast<size_t>(from[i])] = static_cast<int64_t>(i);
    if (from[i] < 0) from[i] = p.rows->rows();
  }
  const auto padded = [&](const torch::Tensor& y) {
    return torch::cat({y, torch::ones({1, y.size(1)}, y.options())})
        .index_select(0, torch::tensor(from, torch::kInt64));
  };
  const PairMaker maker(p.spec, 0);
  std::vector<Pairs> pairs;
  for (const Rectangle& r : channel.rectangles) pairs.push_back(maker.Make(r));
  torch::Tensor q = padded(x.q);
  if (full_only) q = q.narrow(0, channel.partial_rows, channel.full_rows);
  const torch::Tensor out =
      AtenAttention(channel, pairs, q, padded(x.kv), {x.position, x.time, x.action});
  torch::Tensor rows = torch::tensor(to, torch::kInt64);
  if (full_only) {
    rows = rows.narrow(0, p.rows->partial_rows(), p.rows->full_rows()) - channel.partial_rows;
  }
  return out.index_select(0, rows);
}

TEST(BenchPeers, AttentionAndItsGradientsEqualOurs) {
  Sizes sizes = Sizes::Quick();
  sizes.heads = 3;
  sizes.head_width = 5;
  for (const std::vector<int64_t>& events :
       std::vector<std::vector<int64_t>>{{1}, {7}, {3, 30, 1, 12, 2}}) {
    const auto p = MakeAttentionProblem(sizes, events, 5, torch::kFloat64);
    for (const Layout& layout : kLayouts) {
      for (const bool full_only : {false, true}) {
        SCOPED_TRACE(::testing::Message() << events.size() << " segments, layout " << layout.kind
                                          << ", " << layout.users << " users");
        const Operands ours(*p), theirs(*p);
        const int64_t queries = full_only ? p->rows->full_rows() : p->rows->rows();
        const torch::Tensor expected =
            RabAttention(p->rows, ours.q.narrow(0, ours.q.size(0) - queries, queries), ours.kv,
                         ours.position, ours.time, ours.action);
        const torch::Tensor got = PeerAttention(*p, theirs, layout, full_only);
        ExpectClose(got, expected, 1e-10, "out");
        const torch::Tensor d_out = p->d_out.narrow(0, p->d_out.size(0) - queries, queries);
        expected.backward(d_out);
        got.backward(d_out);
        for (size_t i = 0; i < ours.all().size(); ++i) {
          ExpectClose(theirs.all()[i].grad(), ours.all()[i].grad(), 1e-10,
                      absl::StrCat("gradient ", i));
        }
      }
    }
  }
}

// What is timed as ours is the f32 kernels; 1e-4 as their own parity test asks of f32.
TEST(BenchPeers, TheTimedKernelsComputeTheSame) {
  const auto p = MakeAttentionProblem(Sizes::Quick(), {3, 30, 1, 12, 2}, 5);
  OursAttention ours(*p);
  ours.Forward();
  ours.Backward();
  const Operands theirs(*p);
  const torch::Tensor expected = PeerAttention(*p, theirs, {Layout::kSegments, 1}, false);
  expected.backward(p->d_out);
  ExpectClose(ours.out(), expected, 1e-4, "out");
  for (size_t i = 0; i < ours.gradients().size(); ++i) {
    ExpectClose(ours.gradients()[i], theirs.all()[i].grad(), 1e-4, absl::StrCat("gradient ", i));
  }
}

TEST(BenchPeers, ModelLossAndGradientsEqualOurs) {
  for (const int64_t window : {4, 100}) {
    const auto world = MakeWorld(Sizes::Quick(), 2, window);
    const Batch batch = PackUsers(world->spec, MakeUsers(*world, {5, 1, 24, 2, 9}, 3));
    const std::vector<EmbeddingTable> tables = MakeTables(*world, SparseOptimiser::kNone);
    const BatchLookup lookup = Lookup(world->spec.tokens).Find(batch, tables);
    const Net net(world->spec, 7, torch::kFloat64);
    const auto rows = GatherRows(tables, lookup, true, torch::kFloat64);
    const torch::Tensor expected =
        LabelLoss(net.Forward(batch, lookup, rows), batch, RowWeights(batch, {1.0}));
    expected.backward();
    for (const Layout& layout : kLayouts) {
      SCOPED_TRACE(::testing::Message() << "window " << window << ", layout " << layout.kind << ", "
                                        << layout.users << " users");
      const AtenGrab peer(world->spec, net.weights());
      const auto peer_rows = GatherRows(tables, lookup, true, torch::kFloat64);
      double value = 0.0;
      for (const AtenBatch& part :
           MakeAtenBatches(world->spec, batch, lookup, layout, torch::kFloat64)) {
        const torch::Tensor loss = peer.Loss(part, peer_rows);
        value += loss.item<double>();
        loss.backward();
      }
      EXPECT_NEAR(value, expected.item<double>(), 1e-10);
      for (const auto& [name, weight] : net.weights()) {
        ExpectClose(peer.weights().at(name).grad(), weight.grad(), 1e-10, name);
      }
      for (size_t t = 0; t < rows.size(); ++t) {
        ExpectClose(peer_rows[t].grad(), rows[t].grad(), 1e-10, world->spec.tokens.tables[t].name);
      }
    }
  }
}

TEST(BenchPeers, TrainingStepsFollowOurs) {
  const auto world = MakeWorld(Sizes::Quick(), 2, 100);
  const Batch batch = PackUsers(world->spec, MakeUsers(*world, {5, 1, 24, 2, 9}, 3));
  OursTrainStep ours(*world, batch, 2);
  AtenTrainPeer padded(*world, batch, {Layout::kPadded, 2}, 5);
  AtenTrainPeer packed(*world, batch, {Layout::kSegments, 1}, 5);
  // Only the first loss is before an update; decay differs, theirs takes norms and biases too.
  const double first = ours.Step();
  EXPECT_NEAR(padded.Step(), first, 1e-5);
  EXPECT_NEAR(packed.Step(), first, 1e-5);
  const double second = ours.Step();
  EXPECT_LT(second, first);
  EXPECT_NEAR(padded.Step(), second, 1e-3);
  EXPECT_NEAR(packed.Step(), second, 1e-3);
}

TEST(BenchPeers, RankingScoresEqualOursTogetherAndAlone) {
  const auto world = MakeWorld(Sizes::Quick(), 1, 40);
  const Model model = MakeModel(*world, 1);
  const UserBlock block = MakeRankUser(*world, 30, 4, 2);
  const Batch shared = PackCandidates(world->spec, block, 30, 0, 4);
  const std::vector<float> expected = Forward(model, 1).Logits(shared).value();
  OursRank ours(model, Precision::kF32, block, 30);
  ours.Score();
  const torch::Tensor together = AtenRankPeer(model, shared).Logits();
  for (int64_t i = 0; i < 4; ++i) {
    const Batch single = PackCandidates(world->spec, block, 30, i, i + 1);
    const double logit = expected[static_cast<size_t>(i)];
    EXPECT_NEAR(ours.logits()[static_cast<size_t>(i)], logit, 1e-4 * (1 + std::abs(logit)));
    EXPECT_NEAR(together[i][0].item<double>(), logit, 1e-5 * (1 + std::abs(logit)));
    EXPECT_NEAR(AtenRankPeer(model, single).Logits()[0][0].item<double>(), logit,
                1e-5 * (1 + std::abs(logit)));
    EXPECT_NEAR(Forward(model, 1).Logits(single).value()[0], logit, 1e-5 * (1 + std::abs(logit)));
  }
}

}  // namespace
}  // namespace grab::bench
