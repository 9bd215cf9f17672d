#include "model/channel_rows.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/rab_buckets.h"

namespace grab {

ChannelRows::ChannelRows(const ModelSpec& spec, const Batch& batch, size_t channel)
    : spec_(spec),
      partial_rows_(static_cast<int64_t>(batch.channels[channel].token.size())),
      full_rows_(batch.full.rows),
      key_begin_(batch.channels[channel].partial_begin),
      time_ms_(batch.channels[channel].key_time_ms),
      key_action_(batch.channels[channel].key_action.data()),
      position_bucket_(PositionBuckets(spec.position_buckets, spec.DistanceMax(channel))),
      time_bound_ms_(TimeBoundsMs(spec.time_buckets, spec.time_max_s)) {
  const ChannelBatch& rows = batch.channels[channel];
  key_begin_.insert(key_begin_.end(), rows.full_begin.begin(), rows.full_begin.end());
  for (int64_t row = 0; row < partial_rows_; ++row) key_end_.push_back(static_cast<int32_t>(row));
  key_end_.insert(key_end_.end(), rows.full_end.begin(), rows.full_end.end());
  for (int64_t row = 0; row < this->rows(); ++row) self_key_.push_back(static_cast<int32_t>(row));
  time_ms_.insert(time_ms_.end(), batch.request_time_ms.begin(), batch.request_time_ms.end());
  std::vector<int32_t> position_last(static_cast<size_t>(spec.position_buckets));
  FillPositionLast(position_bucket_.data(), spec.DistanceMax(channel), spec.position_buckets,
                   position_last.data());
  const RabShape shape = Shape(this->rows());
  runs_.resize(static_cast<size_t>(this->rows() * RabRunStride(shape)));
  FillRabRuns(shape, Visibility(this->rows()), position_last.data(), runs_.data());
  MakeSegments(batch, channel);
}

void ChannelRows::MakeSegments(const Batch& batch, size_t channel) {
  const std::vector<uint32_t>& partial = batch.channels[channel].segment_offsets;
  const std::vector<uint32_t>& full = batch.full_offsets;
  GRAB_CHECK(partial.size() == full.size());
  for (size_t i = 0; i + 1 < partial.size(); ++i) {
    RabSegment segment;
    segment.key_begin = segment.query_begin[0] = static_cast<int32_t>(partial[i]);
    segment.key_end = segment.query_end[0] = static_cast<int32_t>(partial[i + 1]);
    segment_keys_max_ = std::max<int64_t>(segment_keys_max_, segment.key_end - segment.key_begin);
    const auto first = static_cast<int32_t>(partial_rows_);
    segment.query_begin[1] = first + static_cast<int32_t>(full[i]);
    segment.query_end[1] = first + static_cast<int32_t>(full[i + 1]);
    segments_.push_back(segment);
    segment.query_begin[0] = segment.query_end[0] = 0;
    segment.query_begin[1] -= first;
    segment.query_end[1] -= first;
    full_segments_.push_back(segment);
  }
}

RabProblem ChannelRows::Problem(int64_t queries, const RabInputs<float>& inputs,
                                const float* codebooks) const {
  const std::vector<RabSegment>& segments = queries == rows() ? segments_ : full_segments_;
  return {Shape(queries),
          Visibility(queries),
          {runs_.data() + (rows() - queries) * RabRunStride(Shape(queries))},
          segments.data(),
          static_cast<int64_t>(segments.size()),
          inputs,
          codebooks};
}

RabShape ChannelRows::Shape(int64_t queries) const {
  return {queries,
          rows(),
          spec_.heads,
          spec_.head_width(),
          spec_.position_buckets,
          spec_.time_buckets,
          spec_.action_classes()};
}

RabVisibility ChannelRows::Visibility(int64_t queries) const {
  GRAB_CHECK(queries == rows() || queries == full_rows_);
  const int64_t first = rows() - queries;
  return {key_begin_.data() + first, key_end_.data() + first, self_key_.data() + first,
          time_ms_.data() + first,   time_ms_.data(),         key_action_,
          position_bucket_.data(),   time_bound_ms_.data()};
}

}  // namespace grab
