#include "serve/visible_keys.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/rab_buckets.h"

namespace grab {

int64_t SequenceKeysMax(const ChannelPlan& plan, int64_t rows_max) {
  return plan.window_len + kLateKeys + rows_max + 2 * kPageKeys;
}

VisibleKeys::VisibleKeys(const PackedModel& model, KvCache& cache, int64_t rows_max)
    : model_(model), cache_(cache), page_(model) {
  const ModelSpec& spec = model.spec();
  int64_t keys_max = 0;
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    Channel channel;
    channel.plan = spec.channels[c].plan;
    channel.position_last.resize(static_cast<size_t>(spec.position_buckets));
    const int64_t distance_max = spec.DistanceMax(c);
    FillPositionLast(PositionBuckets(spec.position_buckets, distance_max).data(), distance_max,
                     spec.position_buckets, channel.position_last.data());
    channel.key_begin.resize(static_cast<size_t>(rows_max));
    channel.key_end.resize(static_cast<size_t>(rows_max));
    channel.runs.resize(static_cast<size_t>(rows_max * RabRunStride(model.shape())));
    channels_.push_back(std::move(channel));
    keys_max = std::max(keys_max, SequenceKeysMax(spec.channels[c].plan, rows_max));
  }
  keys_max = std::min(keys_max, static_cast<int64_t>(cache.pages()) * kPageKeys);
  time_bound_ms_ = TimeBoundsMs(spec.time_buckets, spec.time_max_s);
  times_ms_.resize(static_cast<size_t>(keys_max));
  tiles_.resize(static_cast<size_t>(keys_max / kPageKeys + 1));
  if (spec.latent_width > 0) {
    latent_tiles_ = std::make_unique<LatentTiles>(model, static_cast<int64_t>(tiles_.size()));
  }
  scratch_ = hwy::AllocateAligned<uint8_t>(RabTiledScratchBytes(model.shape(), model.precision()));
  GRAB_CHECK_MSG(scratch_ != nullptr, "out of memory for the scratch of attention");
}

int64_t VisibleKeys::GatherTimes(const KvSequence& sequence, int64_t more) {
  const int64_t keys = sequence.keys - sequence.first + more;
  GRAB_CHECK(keys <= static_cast<int64_t>(times_ms_.size()));
  uint32_t page = sequence.front_page;
  for (int64_t key = 0; key < keys; key += kPageKeys, page = cache_.Next(page)) {
    std::copy_n(cache_.KnownTimes(page), std::min(kPageKeys, keys - key), times_ms_.data() + key);
  }
  return keys;
}

void VisibleKeys::FillRuns(Channel& channel, int64_t row, int64_t count, const int64_t* query_ms) {
  RabShape shape = model_.shape();
  shape.queries = count;
  RabVisibility visibility;
  visibility.key_begin = channel.key_begin.data() + row;
  visibility.key_end = channel.key_end.data() + row;
  visibility.query_time_ms = query_ms;
  visibility.key_time_ms = times_ms_.data();
  visibility.time_bound_ms = time_bound_ms_.data();
  FillRabRuns(shape, visibility, channel.position_last.data(),
              channel.runs.data() + row * RabRunStride(shape));
}

StatusOr<int32_t> VisibleKeys::CandidateBegin(const ChannelPlan& plan, const KvSequence& sequence,
                                              int64_t end, int64_t request_ms) const {
  int64_t begin = end - plan.window_len;  // may lie before the first cached key, or any key
  const bool limited = plan.window_time_ms > 0;
  const int64_t oldest_ms = request_ms - plan.window_time_ms;
  if (begin < 0) {
    if (sequence.first > 0 && (!limited || sequence.last_released_ms >= oldest_ms)) {
      return absl::FailedPreconditionError(
          absl::StrCat("a request at ", request_ms,
                       " ms is older than the cached history reaches, which ends at ",
                       sequence.keys, " events"));
    }
    begin = 0;
  }
  if (limited) {
    begin = std::lower_bound(times_ms_.begin() + begin, times_ms_.begin() + end, oldest_ms) -
            times_ms_.begin();
  }
  return static_cast<int32_t>(begin);
}

Status VisibleKeys::SetCandidates(const KvUser* user, size_t channel, int64_t row, int64_t count,
                                  const int64_t* request_ms) {
  Channel& to = channels_[channel];
  const KvSequence& sequence = cache_.sequence(user, channel);
  const int64_t keys = GatherTimes(sequence, 0);
  const int64_t stride = RabRunStride(model_.shape());
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(row + i);
    if (i > 0 && request_ms[i] == request_ms[i - 1]) {  // candidates of one request
      to.key_begin[at] = to.key_begin[at - 1];
      to.key_end[at] = to.key_end[at - 1];
      const RabRun* runs = to.runs.data() + (row + i - 1) * stride;
      std::copy_n(runs, stride, to.runs.data() + (row + i) * stride);
      continue;
    }
    const int64_t end =
        std::lower_bound(times_ms_.begin(), times_ms_.begin() + keys, request_ms[i]) -
        times_ms_.begin();
    GRAB_ASSIGN_OR_RETURN(to.key_begin[at], CandidateBegin(to.plan, sequence, end, request_ms[i]));
    to.key_end[at] = static_cast<int32_t>(end);
    FillRuns(to, row + i, 1, request_ms + i);
  }
  return absl::OkStatus();
}

void VisibleKeys::SetEvents(const KvUser* user, size_t channel, int64_t count) {
  Channel& to = channels_[channel];
  const KvSequence& sequence = cache_.sequence(user, channel);
  const int64_t first = GatherTimes(sequence, count) - count;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t end = first + i;
    int64_t begin = std::max<int64_t>(0, end - std::max<int64_t>(0, to.plan.window_len - 1));
    if (to.plan.window_time_ms > 0) {
      const int64_t oldest_ms = times_ms_[static_cast<size_t>(end)] - to.plan.window_time_ms;
      begin = std::lower_bound(times_ms_.begin() + begin, times_ms_.begin() + end, oldest_ms) -
              times_ms_.begin();
    }
    to.key_begin[static_cast<size_t>(i)] = static_cast<int32_t>(begin);
    to.key_end[static_cast<size_t>(i)] = static_cast<int32_t>(end);
  }
  FillRuns(to, 0, count, times_ms_.data() + first);
}

void VisibleKeys::GatherTiles(const KvUser* user, size_t channel, int64_t layer, int64_t row,
                              int64_t count) {
  const Channel& from = channels_[channel];
  int64_t begin = std::numeric_limits<int64_t>::max();
  int64_t end = 0;
  for (auto i = static_cast<size_t>(row); i < static_cast<size_t>(row + count); ++i) {
    if (from.key_begin[i] >= from.key_end[i]) continue;
    begin = std::min<int64_t>(begin, from.key_begin[i]);
    end = std::max<int64_t>(end, from.key_end[i]);
  }
  uint32_t page = cache_.sequence(user, channel).front_page;
  for (int64_t key = 0; key < end; key += kPageKeys, page = cache_.Next(page)) {
    const int64_t i = key / kPageKeys;
    const void*& tile = tiles_[static_cast<size_t>(i)];
    if (key + kPageKeys <= begin) {
      tile = nullptr;
    } else if (latent_tiles_ != nullptr) {
      tile =
          latent_tiles_->Fill(i, channel, layer, cache_.Data(page), std::min(kPageKeys, end - key));
    } else {
      tile = page_.Tile(cache_.Data(page), layer);
    }
  }
}

void VisibleKeys::Attend(const KvUser* user, size_t channel, int64_t layer, int64_t row,
                         int64_t count, const float* q, const float* self_k, const float* self_v,
                         float* out) {
  const Channel& from = channels_[channel];
  GatherTiles(user, channel, layer, row, count);
  const int64_t d = model_.spec().d_model;
  RabTiledProblem problem;
  problem.shape = model_.shape();
  problem.shape.queries = count;
  problem.format = model_.precision();
  problem.tiles = tiles_.data();
  problem.key_begin = from.key_begin.data() + row;
  problem.key_end = from.key_end.data() + row;
  problem.runs.runs = from.runs.data() + row * RabRunStride(problem.shape);
  problem.q = q + row * d;
  problem.self_k = self_k + row * 2 * d;
  problem.self_v = self_v + row * 2 * d;
  problem.q_stride = d;
  problem.self_stride = 2 * d;
  problem.codebooks = model_.layer(channel, layer).codebooks;
  RabTiledForward(problem, 0, count, 0, problem.shape.heads, out + row * d, d, scratch_.get());
}

}  // namespace grab
