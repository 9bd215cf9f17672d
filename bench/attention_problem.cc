#include "bench/attention_problem.h"

#include <algorithm>

#include "base/rng.h"
#include "bench/world.h"

namespace grab::bench {
namespace {

torch::Tensor Normals(Rng& rng, const std::vector<int64_t>& shape, double scale,
                      torch::ScalarType type) {
  torch::Tensor values = torch::empty(shape, torch::kFloat64);
  double* data = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = scale * rng.Normal();
  return values.to(type);
}

// A spec with one channel and nothing but attention in it.
ModelSpec AttentionSpec(const Sizes& sizes, int64_t longest) {
  ModelSpec spec;
  spec.d_model = sizes.heads * sizes.head_width;
  spec.heads = sizes.heads;
  spec.layers = 1;
  spec.position_buckets = sizes.buckets;
  spec.time_buckets = sizes.buckets;
  spec.time_max_s = kTimeMaxS;
  spec.channels.push_back({"all", {0, std::max<int64_t>(longest, 1), 0}});
  spec.tokens.schema.actions = {"buy", "click"};
  return spec;
}

void AppendSegment(int64_t events, Rng& rng, Batch& batch) {
  ChannelBatch& rows = batch.channels[0];
  const auto first = static_cast<int32_t>(rows.token.size());
  int64_t now_ms = kStartMs;
  for (int64_t i = 0; i < events; ++i) {
    now_ms += GapMs(rng);
    rows.token.push_back(static_cast<uint32_t>(rows.token.size()));
    rows.key_time_ms.push_back(now_ms);
    rows.key_action.push_back(static_cast<int32_t>(rng.Below(3)));
    rows.partial_begin.push_back(first);
    rows.full_begin.push_back(first);
    rows.full_end.push_back(first + static_cast<int32_t>(i));
    batch.request_time_ms.push_back(now_ms);
  }
  rows.segment_offsets.push_back(static_cast<uint32_t>(rows.token.size()));
  batch.full.rows += static_cast<uint32_t>(events);
  batch.full_offsets.push_back(batch.full.rows);
}

}  // namespace

std::unique_ptr<AttentionProblem> MakeAttentionProblem(const Sizes& sizes,
                                                       const std::vector<int64_t>& events,
                                                       uint64_t seed, torch::ScalarType type) {
  auto problem = std::make_unique<AttentionProblem>();
  Rng rng(seed);
  problem->spec = AttentionSpec(sizes, *std::max_element(events.begin(), events.end()));
  problem->batch.channels.resize(1);
  problem->batch.channels[0].segment_offsets.push_back(0);
  problem->batch.full_offsets.push_back(0);
  for (const int64_t count : events) {
    AppendSegment(count, rng, problem->batch);
    problem->pairs += static_cast<double>(count * (count + 1));
  }
  problem->rows = std::make_shared<const ChannelRows>(problem->spec, problem->batch, 0);
  const int64_t rows = problem->rows->rows();
  const int64_t d = problem->spec.d_model;
  const int64_t width = problem->spec.head_width();
  problem->q = Normals(rng, {rows, d}, 1.0, type);
  problem->kv = Normals(rng, {rows, 2 * d}, 1.0, type);
  problem->d_out = Normals(rng, {rows, d}, 1.0, type);
  problem->codebook_position = Normals(rng, {sizes.heads, sizes.buckets, width}, 0.3, type);
  problem->codebook_time = Normals(rng, {sizes.heads, sizes.buckets, width}, 0.3, type);
  problem->codebook_action =
      Normals(rng, {sizes.heads, problem->spec.action_classes(), width}, 0.3, type);
  return problem;
}

}  // namespace grab::bench
