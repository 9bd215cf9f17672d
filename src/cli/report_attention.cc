#include "cli/report_attention.h"

#include <algorithm>

#include "cli/json_file.h"

namespace grab {
namespace {

StatusOr<AttentionBucket> ReadBucket(const JsonMembers& object) {
  AttentionBucket bucket;
  GRAB_ASSIGN_OR_RETURN(bucket.keys, object.Number("keys"));
  GRAB_ASSIGN_OR_RETURN(bucket.uniform, object.Number("uniform"));
  GRAB_ASSIGN_OR_RETURN(bucket.mass, object.Numbers("mass"));
  return bucket;
}

StatusOr<std::vector<AttentionBucket>> ReadBuckets(const JsonMembers& channel, const char* kind,
                                                   size_t layers) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> objects, channel.Objects(kind));
  std::vector<AttentionBucket> buckets;
  for (const JsonMembers& object : objects) {
    GRAB_ASSIGN_OR_RETURN(AttentionBucket bucket, ReadBucket(object));
    if (bucket.mass.size() != layers) {
      return object.WrongType("mass", "as many numbers as in the channel's 'self'");
    }
    if (object.Has("action")) {
      GRAB_ASSIGN_OR_RETURN(bucket.action, object.Text("action"));
    } else {
      GRAB_ASSIGN_OR_RETURN(bucket.from, object.Number("from"));
      GRAB_ASSIGN_OR_RETURN(bucket.to, object.Metric("to"));
    }
    buckets.push_back(std::move(bucket));
  }
  return buckets;
}

StatusOr<ChannelAttention> ReadChannel(const JsonMembers& object) {
  ChannelAttention channel;
  GRAB_ASSIGN_OR_RETURN(channel.name, object.Text("name"));
  GRAB_ASSIGN_OR_RETURN(channel.queries, object.Count("queries"));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers self, object.Object("self"));
  GRAB_ASSIGN_OR_RETURN(channel.self, ReadBucket(self));
  const size_t layers = channel.self.mass.size();
  GRAB_ASSIGN_OR_RETURN(channel.position, ReadBuckets(object, "position", layers));
  GRAB_ASSIGN_OR_RETURN(channel.time, ReadBuckets(object, "time", layers));
  GRAB_ASSIGN_OR_RETURN(channel.action, ReadBuckets(object, "action", layers));
  return channel;
}

}  // namespace

StatusOr<AttentionMass> ReadAttention(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json object, ReadJsonObject(path));
  const JsonMembers whole(path, "", object);
  AttentionMass mass;
  GRAB_ASSIGN_OR_RETURN(mass.rows_hash, whole.Text("rows_hash"));
  GRAB_ASSIGN_OR_RETURN(mass.seed, whole.Count("seed"));
  GRAB_ASSIGN_OR_RETURN(mass.targets, whole.Count("targets"));
  GRAB_ASSIGN_OR_RETURN(mass.sampled, whole.Count("sampled"));
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> channels, whole.Objects("channels"));
  for (const JsonMembers& channel : channels) {
    GRAB_ASSIGN_OR_RETURN(mass.channels.emplace_back(), ReadChannel(channel));
  }
  return mass;
}

AttentionMass ShownAttention(AttentionMass mass) {
  mass.channels.resize(std::min(mass.channels.size(), kAttentionChannelsShownMax));
  const auto cut = [](AttentionBucket& bucket) {
    bucket.mass.resize(std::min(bucket.mass.size(), kAttentionLayersShownMax));
  };
  for (ChannelAttention& channel : mass.channels) {
    channel.position = MergeBuckets(channel.position, kAttentionBucketsShownMax);
    channel.time = MergeBuckets(channel.time, kAttentionBucketsShownMax);
    channel.action = SeenBuckets(channel.action);
    cut(channel.self);
    for (auto* kind : {&channel.position, &channel.time, &channel.action}) {
      for (AttentionBucket& bucket : *kind) cut(bucket);
    }
  }
  return mass;
}

}  // namespace grab
