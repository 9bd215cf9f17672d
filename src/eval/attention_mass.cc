#include "eval/attention_mass.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/rng.h"
#include "batch/stream.h"
#include "kernels/rab_buckets.h"

namespace grab {
namespace {

using nlohmann::json;

// Draws targets one after the other (Knuth, The Art of Computer Programming 2, algorithm S).
class TargetSample {
 public:
  TargetSample(uint64_t targets, const AttentionOptions& options)
      : split_(options.split),
        rng_(options.seed),
        left_(targets),
        wanted_(std::min(targets, options.targets_max)) {}

  // Those drawn of a user's targets, ascending indices into the block.
  std::vector<uint32_t> Of(const UserBlock& block, uint32_t user) {
    std::vector<uint32_t> drawn;
    for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
      if (block.events.split[i] != split_) continue;
      GRAB_CHECK(left_ > 0);
      if (rng_.Below(left_--) >= wanted_) continue;
      --wanted_;
      drawn.push_back(i);
    }
    return drawn;
  }

 private:
  Split split_;
  Rng rng_;
  uint64_t left_;
  uint64_t wanted_;
};

// Calls `use` with the drawn targets in batches of at most `batch_tokens`.
Status ForBatches(const ShardSet& shards, const BatchBuilder& builder,
                  const AttentionOptions& options, TargetSample& sample,
                  const std::function<Status(const Batch&)>& use) {
  Batch batch = builder.Empty();
  std::vector<TargetGroup> groups;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(options.split)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (uint32_t user = 0; user < block.users(); ++user) {
      groups.clear();
      builder.Plan(block, user, block.user_offsets[user], block.user_offsets[user + 1],
                   sample.Of(block, user), options.batch_tokens, groups);
      for (const TargetGroup& group : groups) {
        if (batch.full.rows > 0 && batch.tokens() + group.tokens > options.batch_tokens) {
          GRAB_RETURN_IF_ERROR(use(batch));
          batch = builder.Empty();
        }
        builder.Append(block, group, batch);
      }
    }
  }
  return batch.full.rows > 0 ? use(batch) : absl::OkStatus();
}

json ToJson(const AttentionBucket& bucket) {
  return {{"keys", bucket.keys}, {"uniform", bucket.uniform}, {"mass", bucket.mass}};
}

json RangesToJson(const std::vector<AttentionBucket>& buckets) {
  json array = json::array();
  for (const AttentionBucket& bucket : buckets) {
    json& object = array.emplace_back(ToJson(bucket));
    object["from"] = bucket.from;
    object["to"] = bucket.to ? json(*bucket.to) : json(nullptr);
  }
  return array;
}

json ActionsToJson(const std::vector<AttentionBucket>& buckets) {
  json array = json::array();
  for (const AttentionBucket& bucket : buckets) {
    array.emplace_back(ToJson(bucket))["action"] = bucket.action;
  }
  return array;
}

}  // namespace

AttentionMeter::AttentionMeter(const ModelSpec& spec) : spec_(spec) {
  GRAB_CHECK(spec.kind == ModelKind::kGrab);
  channels_.resize(spec.channels.size());
  for (ChannelSums& channel : channels_) {
    channel.keys = channel.uniform = Zeros();
    channel.layers.assign(static_cast<size_t>(spec.layers), Zeros());
  }
}

AttentionMeter::Sums AttentionMeter::Zeros() const {
  const auto zeros = [](int64_t n) { return std::vector<double>(static_cast<size_t>(n), 0.0); };
  return {zeros(spec_.position_buckets), zeros(spec_.time_buckets), zeros(spec_.action_classes())};
}

void AttentionMeter::AddKey(const RabRow& row, size_t key, double amount, Sums& sums) {
  sums.position[static_cast<size_t>(row.position[key])] += amount;
  sums.time[static_cast<size_t>(row.time[key])] += amount;
  sums.action[static_cast<size_t>(row.action[key])] += amount;
}

void AttentionMeter::Add(const FullAttention& attention) {
  ChannelSums& sums = channels_[attention.channel];
  Sums& mass = sums.layers[static_cast<size_t>(attention.layer)];
  RabRow row;
  std::vector<float> weights;
  for (int64_t query = 0; query < attention.shape.queries; ++query) {
    row.Fill(attention.shape, attention.visibility, query);
    if (row.size() == 1) continue;
    if (attention.layer == 0) {  // the same in every layer
      ++sums.queries;
      for (size_t key = 0; key < row.size(); ++key) {
        AddKey(row, key, 1.0, sums.keys);
        AddKey(row, key, 1.0 / static_cast<double>(row.size()), sums.uniform);
      }
    }
    for (int64_t head = 0; head < attention.shape.heads; ++head) {
      RabAttentionWeights(attention.shape, attention.inputs, row, query, head, weights);
      const auto heads = static_cast<double>(attention.shape.heads);
      for (size_t key = 0; key < row.size(); ++key) AddKey(row, key, weights[key] / heads, mass);
    }
  }
}

AttentionBucket AttentionMeter::Bucket(const ChannelSums& sums, std::vector<double> Sums::*kind,
                                       size_t bucket) const {
  const auto mean = [&](const Sums& of) {
    return sums.queries == 0 ? 0.0 : (of.*kind)[bucket] / static_cast<double>(sums.queries);
  };
  AttentionBucket out;
  out.keys = mean(sums.keys);
  out.uniform = mean(sums.uniform);
  for (const Sums& layer : sums.layers) out.mass.push_back(mean(layer));
  return out;
}

std::vector<AttentionBucket> AttentionMeter::PositionBucketsOf(size_t channel) const {
  const std::vector<uint16_t> bucket_of =
      PositionBuckets(spec_.position_buckets, spec_.DistanceMax(channel));
  std::vector<AttentionBucket> buckets;
  for (size_t distance = 1; distance < bucket_of.size(); ++distance) {
    if (bucket_of[distance] != bucket_of[distance - 1]) {
      buckets.push_back(Bucket(channels_[channel], &Sums::position, bucket_of[distance]));
      buckets.back().from = static_cast<double>(distance);
    }
    buckets.back().to = static_cast<double>(distance);
  }
  return buckets;
}

std::vector<AttentionBucket> AttentionMeter::TimeBucketsOf(size_t channel) const {
  double bound_s = 0.0;
  std::vector<AttentionBucket> buckets;
  const auto add = [&](std::optional<double> to_s) {
    buckets.push_back(Bucket(channels_[channel], &Sums::time, buckets.size() + 1));
    buckets.back().from = bound_s;
    buckets.back().to = to_s;
  };
  for (const int64_t bound_ms : TimeBoundsMs(spec_.time_buckets, spec_.time_max_s)) {
    add(static_cast<double>(bound_ms) / 1000.0);
    bound_s = *buckets.back().to;
  }
  add(std::nullopt);
  return buckets;
}

// Classes as of ActionClass.
std::vector<AttentionBucket> AttentionMeter::ActionBucketsOf(size_t channel) const {
  std::vector<AttentionBucket> buckets;
  if (spec_.bias_actions() == 0) return buckets;
  std::vector<std::string> names = {"no action"};
  const std::vector<std::string>& actions = spec_.tokens.schema.actions;
  names.insert(names.end(), actions.begin(), actions.end());
  names.push_back("not known");
  for (size_t bucket = 0; bucket < names.size(); ++bucket) {
    buckets.push_back(Bucket(channels_[channel], &Sums::action, bucket));
    buckets.back().action = names[bucket];
  }
  return buckets;
}

std::vector<ChannelAttention> AttentionMeter::Means() const {
  std::vector<ChannelAttention> channels;
  for (size_t c = 0; c < channels_.size(); ++c) {
    channels.push_back({spec_.channels[c].name, channels_[c].queries,
                        Bucket(channels_[c], &Sums::position, 0), PositionBucketsOf(c),
                        TimeBucketsOf(c), ActionBucketsOf(c)});
  }
  return channels;
}

StatusOr<AttentionMass> MeasureAttention(const Model& model, const ShardSet& shards,
                                         const AttentionOptions& options, Progress& progress) {
  const ModelSpec& spec = model.spec;
  if (spec.kind != ModelKind::kGrab) {
    return absl::InvalidArgumentError(
        absl::StrCat("attention is measured of ", ModelKindName(ModelKind::kGrab),
                     " only, the model is ", ModelKindName(spec.kind)));
  }
  GRAB_ASSIGN_OR_RETURN(const BatchBuilder builder, BatchBuilder::Create(spec.tokens, spec.Plan()));
  Forward forward(model, options.threads);
  AttentionMeter meter(spec);
  forward.set_observer([&](const FullAttention& attention) { meter.Add(attention); });
  AttentionMass mass;
  mass.rows_hash = shards.rows_hash();
  mass.seed = options.seed;
  mass.targets = CountTargets(shards, options.split);
  TargetSample sample(mass.targets, options);
  progress.Begin("attention", "targets", std::min(mass.targets, options.targets_max));
  const auto add = [&](const Batch& batch) -> Status {
    GRAB_RETURN_IF_ERROR(forward.Logits(batch).status());
    mass.sampled += batch.full.rows;
    progress.Update(mass.sampled, "");
    return absl::OkStatus();
  };
  GRAB_RETURN_IF_ERROR(ForBatches(shards, builder, options, sample, add));
  progress.End("");
  mass.channels = meter.Means();
  return mass;
}

std::vector<AttentionBucket> SeenBuckets(const std::vector<AttentionBucket>& buckets) {
  std::vector<AttentionBucket> seen;
  std::copy_if(buckets.begin(), buckets.end(), std::back_inserter(seen),
               [](const AttentionBucket& bucket) { return bucket.keys > 0.0; });
  return seen;
}

std::vector<AttentionBucket> MergeBuckets(const std::vector<AttentionBucket>& buckets,
                                          size_t count_max) {
  std::vector<AttentionBucket> seen = SeenBuckets(buckets), merged;
  const size_t run = (seen.size() + count_max - 1) / count_max;
  for (size_t b = 0; b < seen.size(); ++b) {
    if (b % run == 0) {
      merged.push_back(std::move(seen[b]));
      continue;
    }
    AttentionBucket& sum = merged.back();
    sum.to = seen[b].to;
    sum.keys += seen[b].keys;
    sum.uniform += seen[b].uniform;
    for (size_t l = 0; l < sum.mass.size(); ++l) sum.mass[l] += seen[b].mass[l];
  }
  return merged;
}

json ToJson(const AttentionMass& mass) {
  json channels = json::array();
  for (const ChannelAttention& channel : mass.channels) {
    channels.push_back({{"name", channel.name},
                        {"queries", channel.queries},
                        {"self", ToJson(channel.self)},
                        {"position", RangesToJson(channel.position)},
                        {"time", RangesToJson(channel.time)},
                        {"action", ActionsToJson(channel.action)}});
  }
  return {{"rows_hash", mass.rows_hash},
          {"seed", mass.seed},
          {"targets", mass.targets},
          {"sampled", mass.sampled},
          {"channels", std::move(channels)}};
}

}  // namespace grab
