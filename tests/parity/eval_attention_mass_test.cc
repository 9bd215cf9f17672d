// The weights that attention is measured by, against what the ordinary forward did: the values
// weighted by them are the output of its SIMD attention, to 2e-5 of values of order 1 (both add up
// to 15 products in f32), and each query's weights sum to 1. And what the meter adds up, against a
// naive softmax in f64 whose buckets are found anew from the batch's times and actions; to 1e-5.
#include <gtest/gtest.h>

#include <array>

#include "eval/attention_mass.h"
#include "kernels/rab_buckets.h"
#include "support/random_model.h"

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;
using testing::PackAll;

struct Variant {
  const char* norm;
  size_t channels;
  int64_t layers;
  int64_t latent;
};
constexpr Variant kVariants[] = {
    {"pre", 1, 1, 0}, {"pre", 2, 2, 0}, {"post", 2, 3, 0}, {"pre", 2, 2, 4}};

Config VariantConfig(const Variant& variant) {
  Config config = MakeConfig();
  config.grab.model.norm = variant.norm;
  config.grab.model.channels.resize(variant.channels);
  config.grab.model.channels[0].window_len = 14;
  config.grab.model.layers = variant.layers;
  config.grab.model.latent_width = variant.latent;
  return config;
}

// Calls `observe` with every layer's attention over all targets of random users.
void Observe(const Model& model, uint64_t seed, const AttentionObserver& observe) {
  const Batch batch = PackAll(model.spec, MakeBlock(model.spec.tokens.schema, seed, 4, 30));
  ASSERT_GT(batch.full.rows, 0u);
  Forward forward(model, 2);
  size_t calls = 0;
  forward.set_observer([&](const FullAttention& attention) {
    ++calls;
    EXPECT_EQ(attention.shape.queries, batch.full.rows);
    observe(attention);
  });
  ASSERT_TRUE(forward.Logits(batch).ok());
  EXPECT_EQ(calls, model.spec.channels.size() * static_cast<size_t>(model.spec.layers));
}

void ExpectReproducesOutput(const FullAttention& attention) {
  const RabShape& shape = attention.shape;
  RabRow row;
  std::vector<float> weights;
  for (int64_t query = 0; query < shape.queries; ++query) {
    row.Fill(shape, attention.visibility, query);
    for (int64_t head = 0; head < shape.heads; ++head) {
      RabAttentionWeights(shape, attention.inputs, row, query, head, weights);
      ASSERT_EQ(weights.size(), row.size());
      double sum = 0.0;
      for (const float weight : weights) sum += weight;
      ASSERT_NEAR(sum, 1.0, 1e-6) << "query " << query << " head " << head;
      for (int64_t d = 0; d < shape.head_width; ++d) {
        const int64_t column = head * shape.head_width + d;
        double value = 0.0;
        for (size_t j = 0; j < row.size(); ++j) {
          value +=
              weights[j] * attention.inputs.v[row.key[j] * attention.inputs.kv_stride + column];
        }
        const float out = attention.out[query * shape.heads * shape.head_width + column];
        ASSERT_NEAR(value, out, 2e-5 * (1.0 + std::abs(out)))
            << "query " << query << " head " << head << " of channel " << attention.channel
            << " layer " << attention.layer;
      }
    }
  }
}

TEST(AttentionWeights, ReproduceTheOutputOfTheForward) {
  for (const Variant& variant : kVariants) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(::testing::Message() << variant.norm << " channels " << variant.channels
                                        << " latent " << variant.latent << " seed " << seed);
      Observe(MakeModel(VariantConfig(variant), ModelKind::kGrab, seed), seed,
              &ExpectReproducesOutput);
    }
  }
}

// By kind (position, time, action) and bucket, over all queries that see a key; and what no query
// divides by: keys and uniform shares.
struct NaiveSums {
  double queries = 0.0;
  std::array<std::map<int64_t, double>, 3> keys, uniform, mass;
};

double NaiveDot(const float* a, const float* b, int64_t n) {
  double sum = 0.0;
  for (int64_t d = 0; d < n; ++d) sum += double(a[d]) * double(b[d]);
  return sum;
}

std::array<int64_t, 3> NaiveBuckets(const FullAttention& attention, int64_t query, int64_t key) {
  const RabShape& shape = attention.shape;
  const RabVisibility& see = attention.visibility;
  if (key == see.self_key[query]) return {0, 0, shape.action_classes - 1};
  const int64_t age_ms = see.query_time_ms[query] - see.key_time_ms[key];
  int64_t time = 1;
  for (int64_t b = 0; b < shape.time_buckets - 2; ++b)
    time += age_ms > see.time_bound_ms[b] ? 1 : 0;
  return {see.position_bucket[see.key_end[query] - key], time, see.key_action[key]};
}

void AddNaively(const FullAttention& attention, NaiveSums& sums) {
  const RabShape& shape = attention.shape;
  const RabInputs<float>& in = attention.inputs;
  const int64_t width = shape.head_width;
  for (int64_t query = 0; query < shape.queries; ++query) {
    std::vector<int64_t> keys = {attention.visibility.self_key[query]};
    for (int64_t key = attention.visibility.key_begin[query];
         key < attention.visibility.key_end[query]; ++key) {
      keys.push_back(key);
    }
    if (keys.size() == 1) continue;
    sums.queries += 1.0;
    for (int64_t head = 0; head < shape.heads; ++head) {
      const float* q = in.q + query * in.q_stride + head * width;
      std::vector<double> weight;
      double total = 0.0;
      for (const int64_t key : keys) {
        const auto [position, time, action] = NaiveBuckets(attention, query, key);
        const double logit =
            NaiveDot(q, in.k + key * in.kv_stride + head * width, width) +
            NaiveDot(q, in.codebook_position + (head * shape.position_buckets + position) * width,
                     width) +
            NaiveDot(q, in.codebook_time + (head * shape.time_buckets + time) * width, width) +
            NaiveDot(q, in.codebook_action + (head * shape.action_classes + action) * width, width);
        weight.push_back(std::exp(logit / std::sqrt(double(width))));
        total += weight.back();
      }
      const auto heads = static_cast<double>(shape.heads);
      for (size_t j = 0; j < keys.size(); ++j) {
        const auto buckets = NaiveBuckets(attention, query, keys[j]);
        for (size_t kind = 0; kind < 3; ++kind) {
          sums.keys[kind][buckets[kind]] += 1.0 / heads;
          sums.uniform[kind][buckets[kind]] += 1.0 / heads / static_cast<double>(keys.size());
          sums.mass[kind][buckets[kind]] += weight[j] / total / heads;
        }
      }
    }
  }
}

void ExpectBucket(NaiveSums& sums, size_t kind, int64_t index, int64_t layer,
                  const AttentionBucket& bucket) {
  SCOPED_TRACE(::testing::Message() << "kind " << kind << " bucket " << index);
  EXPECT_NEAR(bucket.keys, sums.keys[kind][index] / sums.queries, 1e-9);
  EXPECT_NEAR(bucket.uniform, sums.uniform[kind][index] / sums.queries, 1e-9);
  EXPECT_NEAR(bucket.mass[static_cast<size_t>(layer)], sums.mass[kind][index] / sums.queries, 1e-5);
}

TEST(AttentionMeter, AddsUpByBucket) {
  for (const Variant& variant : kVariants) {
    const Model model = MakeModel(VariantConfig(variant), ModelKind::kGrab, 5);
    AttentionMeter meter(model.spec);
    std::map<std::pair<size_t, int64_t>, NaiveSums> naive;  // by channel and layer
    Observe(model, 5, [&](const FullAttention& attention) {
      meter.Add(attention);
      AddNaively(attention, naive[{attention.channel, attention.layer}]);
    });
    const std::vector<ChannelAttention> channels = meter.Means();
    ASSERT_EQ(channels.size(), variant.channels);
    for (auto& [place, sums] : naive) {
      const auto& [c, layer] = place;
      SCOPED_TRACE(::testing::Message() << variant.norm << " channel " << c << " layer " << layer);
      ASSERT_GT(sums.queries, 0.0);
      EXPECT_EQ(static_cast<double>(channels[c].queries), sums.queries);
      ExpectBucket(sums, 0, 0, layer, channels[c].self);
      // Windows of 14 and 3 reach buckets 1 to 5 and 1 to 3 or more; all of time and action exist.
      int64_t bucket = 0;
      for (const AttentionBucket& found : channels[c].time) {
        ExpectBucket(sums, 1, ++bucket, layer, found);
      }
      EXPECT_EQ(bucket, model.spec.time_buckets - 1);
      bucket = 0;
      for (const AttentionBucket& found : channels[c].action) {
        ExpectBucket(sums, 2, bucket++, layer, found);
      }
      EXPECT_EQ(bucket, model.spec.action_classes() - 1);
      const std::vector<uint16_t> bucket_of =
          PositionBuckets(model.spec.position_buckets, model.spec.DistanceMax(c));
      for (const AttentionBucket& found : channels[c].position) {
        ExpectBucket(sums, 0, bucket_of[static_cast<size_t>(found.from)], layer, found);
      }
    }
  }
}

}  // namespace
}  // namespace grab
