// Where GRAB looks: the attention of candidates by distance, age and action of the events they
// attend to (GRAB, arXiv 2602.01865, Sec. 5.3), in the buckets of the relative bias. Weights are
// computed by the reference attention from the queries and keys of the libtorch-free forward.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "data/shard.h"
#include "model/forward.h"

namespace grab {

// What the keys of a bucket, or of several that follow each other, get of a candidate's attention:
// means over candidates.
struct AttentionBucket {
  double from = 0.0;         // distances in events, both included; or ages in seconds above `from`
  std::optional<double> to;  // and up to `to`; nullopt: no limit
  std::string action;        // of an action class, which has no range
  double keys = 0.0;         // keys that are seen
  double uniform = 0.0;      // mass if all keys of a candidate, itself included, got the same
  std::vector<double> mass;  // [layers], mean over heads
};

// The buckets of each kind and `self` sum to 1. Distances that the channel's window does not reach
// are left out; so are actions that the model does not tell apart.
struct ChannelAttention {
  std::string name;
  uint64_t queries = 0;  // candidates that see an event in the channel; only they are in the means
  AttentionBucket self;  // the candidate's own key
  std::vector<AttentionBucket> position, time, action;
};

struct AttentionMass {
  std::string rows_hash;  // of the shards
  uint64_t seed = 0;      // of the sample
  uint64_t targets = 0;   // of the split
  uint64_t sampled = 0;
  std::vector<ChannelAttention> channels;
};

// Adds up the attention of full rows. `spec`, of a GRAB, must outlive it.
class AttentionMeter {
 public:
  explicit AttentionMeter(const ModelSpec& spec);

  // Every layer of every channel of a batch must be added once (Forward::set_observer).
  void Add(const FullAttention& attention);
  std::vector<ChannelAttention> Means() const;

 private:
  // Per bucket of the bias, the candidate's own among them.
  struct Sums {
    std::vector<double> position, time, action;
  };
  struct ChannelSums {
    uint64_t queries = 0;
    Sums keys, uniform;
    std::vector<Sums> layers;
  };
  Sums Zeros() const;
  static void AddKey(const RabRow& row, size_t key, double amount, Sums& sums);
  AttentionBucket Bucket(const ChannelSums& sums, std::vector<double> Sums::*kind,
                         size_t bucket) const;
  std::vector<AttentionBucket> PositionBucketsOf(size_t channel) const;
  std::vector<AttentionBucket> TimeBucketsOf(size_t channel) const;
  std::vector<AttentionBucket> ActionBucketsOf(size_t channel) const;

  const ModelSpec& spec_;
  std::vector<ChannelSums> channels_;
};

struct AttentionOptions {
  Split split = Split::kTest;
  uint64_t targets_max = 20000;  // of more a sample is drawn, every subset equally likely
  uint64_t seed = 1;             // of the sample
  uint64_t batch_tokens = 16384;
  int threads = 1;  // of the forward
};

// The attention of the targets of a split, on whole timelines as ScoreSplit reads them. Memory is
// bounded by a block and a batch. A model that is not GRAB is an InvalidArgument.
StatusOr<AttentionMass> MeasureAttention(const Model& model, const ShardSet& shards,
                                         const AttentionOptions& options, Progress& progress);

// Those in which a key was seen.
std::vector<AttentionBucket> SeenBuckets(const std::vector<AttentionBucket>& buckets);

// The seen ones of distances or ages; if they are more than `count_max` > 0, runs of equally many
// that follow each other are added up.
std::vector<AttentionBucket> MergeBuckets(const std::vector<AttentionBucket>& buckets,
                                          size_t count_max);

// {"rows_hash", "seed", "targets", "sampled", "channels": [{"name", "queries", "self": BUCKET,
// "position": [BUCKET],
//  "time": [BUCKET], "action": [BUCKET]}]}, BUCKET = {"from", "to" or null, "action", "keys",
//  "uniform", "mass": [layers]}: range or action where it has one.
nlohmann::json ToJson(const AttentionMass& mass);

}  // namespace grab
