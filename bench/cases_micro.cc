// Kernels one by one, on one thread.
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "bench/cases.h"
#include "bench/flops.h"
#include "bench/ours_attention.h"
#include "kernels/dense_ops.h"
#include "kernels/embedding_pool.h"
#include "kernels/layer_norm.h"
#include "kernels/vector_ops.h"

namespace grab::bench {
namespace {

constexpr ProcessSettings kOneThread = {1, 1, Allocator::kRaised};

void RunAttentionLengths(Context& context) {
  const Sizes& sizes = context.sizes();
  for (const int64_t events : sizes.micro_events) {
    const auto problem = MakeAttentionProblem(sizes, {events}, kSeed);
    OursAttention ours(*problem);
    const auto seconds =
        context.Interleave({context.Ceiling(GemmType::kF32, 1),
                            MakeSide("forward", kOneThread, [&] { ours.Forward(); }),
                            MakeSide("backward", kOneThread, [&] { ours.Backward(); })});
    const double ceiling = context.CeilingFlops(GemmType::kF32, 1);
    const std::string conditions = absl::StrCat(events, " P + ", events, " F rows, ", sizes.heads,
                                                " heads of ", sizes.head_width);
    context.Add(PeakFraction(absl::StrCat("micro_attention_forward_", events, "_peak_fraction"),
                             AttentionForwardFlops(problem->pairs, sizes.heads, sizes.head_width),
                             seconds[1], ceiling, seconds[0]),
                conditions);
    context.Add(PeakFraction(absl::StrCat("micro_attention_backward_", events, "_peak_fraction"),
                             AttentionBackwardFlops(problem->pairs, sizes.heads, sizes.head_width),
                             seconds[2], ceiling, seconds[0]),
                conditions);
  }
}

void RunLinear(Context& context, int64_t m, int64_t n, int64_t k) {
  const torch::Tensor x = torch::ones({m, k}), weight = torch::ones({n, k}),
                      bias = torch::ones({n});
  torch::Tensor y = torch::empty({m, n});
  const auto seconds = context.Interleave(
      {context.Ceiling(GemmType::kF32, 1),
       MakeSide("ours", kOneThread,
                [&] {
                  GRAB_CHECK(Linear(m, n, k, x.data_ptr<float>(), k, weight.data_ptr<float>(),
                                    bias.data_ptr<float>(), y.data_ptr<float>(), n)
                                 .ok());
                }),
       MakeSide("ATen", kOneThread, [&] { torch::linear(x, weight, bias); })});
  const double flops =
      DenseFlops(static_cast<double>(m), static_cast<double>(n), static_cast<double>(k));
  const std::string name = absl::StrCat("micro_linear_", m, "x", n, "x", k);
  context.Add(PeakFraction(name + "_peak_fraction", flops, seconds[1],
                           context.CeilingFlops(GemmType::kF32, 1), seconds[0]),
              "x weight^T + bias");
  context.Add(Ratio(name + "_speedup_vs_aten", Microseconds("ATen", seconds[2]),
                    Microseconds("ours", seconds[1])),
              "x weight^T + bias");
}

// One operator and ATen's, over the same bytes.
void RunStreaming(Context& context, const std::string& name, const std::string& conditions,
                  double bytes, std::function<void()> ours, std::function<void()> aten) {
  const auto seconds = context.Interleave({MakeSide("ours", kOneThread, std::move(ours)),
                                           MakeSide("ATen", kOneThread, std::move(aten))});
  context.Add(Single(PerSecond(name + "_rate", "GB/s", bytes, seconds[0])), conditions);
  context.Add(Ratio(name + "_speedup_vs_aten", Microseconds("ATen", seconds[1]),
                    Microseconds("ours", seconds[0])),
              conditions);
}

void RunElementwise(Context& context) {
  const int64_t rows = context.sizes().micro_rows, d = context.sizes().d_model;
  const torch::Tensor x = torch::randn({rows, d}), scale = torch::ones({d}),
                      shift = torch::zeros({d});
  torch::Tensor y = x.clone();
  const double bytes = 8.0 * static_cast<double>(rows * d);
  const std::string conditions = absl::StrCat(rows, " x ", d, ", bytes read and written");
  RunStreaming(
      context, "micro_layer_norm", conditions, bytes,
      [&] {
        LayerNormForward(rows, d, x.data_ptr<float>(), scale.data_ptr<float>(),
                         shift.data_ptr<float>(), y.data_ptr<float>(), nullptr);
      },
      [&] { torch::layer_norm(x, {d}, scale, shift); });
  RunStreaming(
      context, "micro_gelu", conditions, bytes,
      [&] { GeluForward(x.numel(), x.data_ptr<float>(), y.data_ptr<float>()); },
      [&] { torch::gelu(x); });
}

void RunEmbeddingPool(Context& context) {
  const int64_t rows = context.sizes().micro_rows, width = context.sizes().embedding_dim;
  constexpr int64_t kPairs = 4;  // per row
  const int64_t table_rows = context.sizes().table_rows;
  const torch::Tensor table = torch::randn({table_rows, width});
  torch::Tensor out = torch::empty({rows, width});
  Rng rng(kSeed);
  std::vector<uint32_t> offsets = {0}, index;
  std::vector<float> weights;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < kPairs; ++i) {
      index.push_back(static_cast<uint32_t>(rng.Below(static_cast<uint64_t>(table_rows))));
      weights.push_back(1.0f);
    }
    offsets.push_back(static_cast<uint32_t>(index.size()));
  }
  const PoolPairs pairs = {rows, offsets.data(), index.data(), weights.data()};
  const torch::Tensor aten_index =
      torch::tensor(std::vector<int64_t>(index.begin(), index.end()), torch::kInt64);
  const torch::Tensor aten_offsets =
      torch::tensor(std::vector<int64_t>(offsets.begin(), offsets.end()), torch::kInt64);
  const torch::Tensor aten_weights = torch::tensor(weights);
  RunStreaming(
      context, "micro_embedding_pool",
      absl::StrCat(rows, " tokens of ", kPairs, " keys, width ", width, ", ", table_rows, " rows"),
      4.0 * static_cast<double>(rows * width * (kPairs + 1)),
      [&] {
        EmbeddingPoolForward<float>(pairs, table.data_ptr<float>(), width, out.data_ptr<float>(),
                                    width);
      },
      [&] {
        torch::embedding_bag(table, aten_index, aten_offsets, false, 0, false, aten_weights, true);
      });
}

}  // namespace

void RunMicro(Context& context) {
  context.Section("Kernels");
  RunAttentionLengths(context);
  const Sizes& sizes = context.sizes();
  RunLinear(context, sizes.micro_rows, 2 * sizes.d_model, sizes.d_model);
  RunLinear(context, sizes.micro_rows, sizes.ffn_hidden, sizes.d_model);
  RunLinear(context, sizes.micro_rows, sizes.d_model, sizes.ffn_hidden);
  RunLinear(context, sizes.rank_candidates, sizes.d_model, sizes.d_model);
  RunElementwise(context);
  RunEmbeddingPool(context);
}

}  // namespace grab::bench
