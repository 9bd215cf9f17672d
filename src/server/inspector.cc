#include "server/inspector.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "batch/builder.h"
#include "model/forward.h"

namespace grab {
namespace {

// History, then candidates, as one user whose candidates are the targets.
UserBlock BlockOf(const Schema& schema, const EventColumns& history,
                  const EventColumns& candidates) {
  UserBlock block;
  block.events = MakeColumns(schema);
  for (size_t row = 0; row < history.size(); ++row) {
    AppendEvent(schema, history, row, block.events);
  }
  for (size_t row = 0; row < candidates.size(); ++row) {
    AppendEvent(schema, candidates, row, block.events);
  }
  block.user_id = {"inspected"};
  block.user_offsets = {0, static_cast<uint32_t>(block.events.size())};
  return block;
}

// Events of the channel that a candidate requested at `time_ms` may see, ascending.
std::vector<uint32_t> EventsOf(const ChannelPlan& plan, const EventColumns& history,
                               int64_t time_ms) {
  std::vector<uint32_t> events;
  for (uint32_t i = 0; i < history.size(); ++i) {
    if (history.history[i] == 0 || history.known_time_ms[i] >= time_ms) continue;
    if (plan.actions != 0 && (history.actions[i] & plan.actions) == 0) continue;
    events.push_back(i);
  }
  return events;
}

float Dot(const float* a, const float* b, int64_t n) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Shares of the keys of one query, means over heads. Key rows of a channel are the newest of
// `events`, so they are counted from the end.
void AddShares(const FullAttention& attention, int64_t query, const std::vector<uint32_t>& events,
               std::vector<EventShare>& shares) {
  const RabShape& shape = attention.shape;
  const RabInputs<float>& inputs = attention.inputs;
  RabRow row;
  row.Fill(shape, attention.visibility, query);
  const int64_t partial_keys = shape.keys - shape.queries;
  const size_t seen = row.size() - 1;  // its own key is last
  const size_t first = shares.size();
  shares.resize(first + seen);
  std::vector<float> weights;
  const auto heads = static_cast<float>(shape.heads);
  const int64_t width = shape.head_width;
  const float scale = 1.0f / (std::sqrt(static_cast<float>(width)) * heads);
  for (int64_t head = 0; head < shape.heads; ++head) {
    RabAttentionWeights(shape, inputs, row, query, head, weights);
    const float* q = inputs.q + query * inputs.q_stride + head * width;
    for (size_t key = 0; key < seen; ++key) {
      EventShare& share = shares[first + key];
      const auto bias = [&](const float* codebook, int64_t buckets, int32_t bucket) {
        return scale * Dot(q, codebook + (head * buckets + bucket) * width, width);
      };
      share.share += weights[key] / heads;
      share.content +=
          scale * Dot(q, inputs.k + row.key[key] * inputs.kv_stride + head * width, width);
      share.position += bias(inputs.codebook_position, shape.position_buckets, row.position[key]);
      share.time += bias(inputs.codebook_time, shape.time_buckets, row.time[key]);
      share.action += bias(inputs.codebook_action, shape.action_classes, row.action[key]);
    }
  }
  const size_t cut = events.size() - static_cast<size_t>(partial_keys);
  for (size_t key = 0; key < seen; ++key) {
    shares[first + key].event = events[cut + static_cast<size_t>(row.key[key])];
    shares[first + key].channel = static_cast<uint32_t>(attention.channel);
  }
}

}  // namespace

StatusOr<Inspection> Inspect(const Model& model, const EventColumns& history,
                             const EventColumns& candidates) {
  GRAB_CHECK(candidates.size() > 0);
  const ModelSpec& spec = model.spec;
  const UserBlock block = BlockOf(spec.tokens.schema, history, candidates);
  const auto begin = static_cast<uint32_t>(history.size());
  std::vector<uint32_t> targets;
  for (uint32_t row = begin; row < block.events.size(); ++row) targets.push_back(row);
  GRAB_ASSIGN_OR_RETURN(const BatchBuilder builder, BatchBuilder::Create(spec.tokens, spec.Plan()));
  std::vector<TargetGroup> groups;
  builder.Plan(block, 0, 0, static_cast<uint32_t>(block.events.size()), targets,
               std::numeric_limits<uint32_t>::max(), groups);
  GRAB_CHECK(groups.size() == 1);
  Batch batch = builder.Empty();
  builder.Append(block, groups[0], batch);
  Inspection inspection;
  inspection.shares.resize(candidates.size());
  std::vector<std::vector<uint32_t>> events;
  for (const ChannelSpec& channel : spec.channels) {
    events.push_back(EventsOf(channel.plan, history, candidates.request_time_ms[0]));
  }
  Forward forward(model, 1);
  forward.set_observer([&](const FullAttention& attention) {
    if (attention.layer + 1 != spec.layers) return;
    for (int64_t query = 0; query < attention.shape.queries; ++query) {
      AddShares(attention, query, events[attention.channel],
                inspection.shares[static_cast<size_t>(query)]);
    }
  });
  GRAB_ASSIGN_OR_RETURN(const std::vector<float> logits, forward.Logits(batch));
  for (const float logit : logits) {
    inspection.probabilities.push_back(1.0f / (1.0f + std::exp(-logit)));
  }
  for (std::vector<EventShare>& shares : inspection.shares) {
    std::stable_sort(shares.begin(), shares.end(),
                     [](const EventShare& a, const EventShare& b) { return a.share > b.share; });
  }
  return inspection;
}

}  // namespace grab
