#include "train/dense_segments.h"

#include "kernels/rab_buckets.h"

namespace grab {
namespace {

class Filler {
 public:
  Filler(const ModelSpec& spec, const Batch& batch, size_t channel)
      : batch_(batch),
        channel_(batch.channels[channel]),
        position_(PositionBuckets(spec.position_buckets, spec.DistanceMax(channel))),
        bounds_ms_(TimeBoundsMs(spec.time_buckets, spec.time_max_s)) {}

  DenseSegment Fill(size_t s) const {
    DenseSegment segment;
    segment.partial_begin = channel_.segment_offsets[s];
    segment.partial_rows = channel_.segment_offsets[s + 1] - segment.partial_begin;
    segment.full_begin = batch_.full_offsets[s];
    segment.full_rows = batch_.full_offsets[s + 1] - segment.full_begin;
    for (int64_t r = 0; r < segment.partial_rows; ++r) {
      const auto row = static_cast<size_t>(segment.partial_begin + r);
      segment.event.push_back(channel_.token[row]);
      AddQuery(channel_.partial_begin[row], static_cast<int64_t>(row), channel_.key_time_ms[row],
               segment);
    }
    for (int64_t f = 0; f < segment.full_rows; ++f) {
      const auto row = static_cast<size_t>(segment.full_begin + f);
      AddQuery(channel_.full_begin[row], channel_.full_end[row], batch_.request_time_ms[row],
               segment);
    }
    return segment;
  }

 private:
  // A query that sees the channel's rows [begin, end).
  void AddQuery(int64_t begin, int64_t end, int64_t time_ms, DenseSegment& segment) const {
    for (int64_t k = 0; k < segment.partial_rows; ++k) {
      const int64_t key = segment.partial_begin + k;
      const bool sees = key >= begin && key < end;
      segment.visible.push_back(sees ? 1 : 0);
      segment.position_bucket.push_back(sees ? position_[static_cast<size_t>(end - key)] : 0);
      segment.time_bucket.push_back(sees ? TimeBucketOf(time_ms, key) : 0);
    }
  }
  int64_t TimeBucketOf(int64_t time_ms, int64_t key) const {
    return TimeBucket(bounds_ms_.data(), static_cast<int64_t>(bounds_ms_.size()),
                      time_ms - channel_.key_time_ms[static_cast<size_t>(key)]);
  }

  const Batch& batch_;
  const ChannelBatch& channel_;
  std::vector<uint16_t> position_;
  std::vector<int64_t> bounds_ms_;
};

}  // namespace

std::vector<DenseSegment> DenseSegments(const ModelSpec& spec, const Batch& batch, size_t channel) {
  const Filler filler(spec, batch, channel);
  std::vector<DenseSegment> segments;
  for (size_t s = 0; s + 1 < batch.full_offsets.size(); ++s) segments.push_back(filler.Fill(s));
  return segments;
}

}  // namespace grab
