#include "train/history_search.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/rab_buckets.h"
#include "train/dense.h"

namespace grab {
namespace {

constexpr uint64_t kPlanesSeed = 0x5117;

class PairMaker {
 public:
  PairMaker(const ModelSpec& spec, const Batch& batch)
      : channel_(batch.channels[0]),
        request_time_ms_(batch.request_time_ms),
        bounds_ms_(TimeBoundsMs(spec.time_buckets, spec.time_max_s)) {
    GRAB_CHECK(batch.channels.size() == 1);
  }

  int32_t begin(size_t candidate) const { return channel_.full_begin[candidate]; }
  int32_t end(size_t candidate) const { return channel_.full_end[candidate]; }
  uint32_t event(int32_t row) const { return channel_.token[static_cast<size_t>(row)]; }
  int32_t action(int32_t row) const { return channel_.key_action[static_cast<size_t>(row)]; }
  int32_t TimeBucketOf(size_t candidate, int32_t row) const {
    return TimeBucket(bounds_ms_.data(), static_cast<int64_t>(bounds_ms_.size()),
                      request_time_ms_[candidate] - channel_.key_time_ms[static_cast<size_t>(row)]);
  }

  void Add(size_t candidate, int32_t row) {
    pairs_.candidate.push_back(static_cast<int64_t>(candidate));
    pairs_.event.push_back(event(row));
    pairs_.time_bucket.push_back(TimeBucketOf(candidate, row));
    pairs_.action.push_back(action(row));
  }

  // The `found` rows that `relevance(candidate, row)` is largest of.
  template <class F>
  void AddBest(size_t candidate, int64_t found, const F& relevance) {
    scored_.clear();
    for (int32_t row = begin(candidate); row < end(candidate); ++row) {
      scored_.emplace_back(relevance(candidate, row), row);
    }
    if (static_cast<int64_t>(scored_.size()) > found) {
      std::nth_element(scored_.begin(), scored_.begin() + found, scored_.end(), std::greater<>());
      scored_.resize(static_cast<size_t>(found));
    }
    rows_.clear();
    for (const auto& [score, row] : scored_) rows_.push_back(row);
    std::sort(rows_.begin(), rows_.end());
    for (const int32_t row : rows_) Add(candidate, row);
  }

  HistoryPairs Take() { return std::move(pairs_); }

 private:
  const ChannelBatch& channel_;
  const std::vector<int64_t>& request_time_ms_;
  std::vector<int64_t> bounds_ms_;
  std::vector<std::pair<float, int32_t>> scored_;
  std::vector<int32_t> rows_;
  HistoryPairs pairs_;
};

// Values as f32, whatever the net computes in: f64 nets are there for gradients, which search has
// none of.
torch::Tensor Values(const torch::Tensor& x) { return x.detach().to(torch::kFloat32).contiguous(); }

float Product(const torch::Tensor& a, int64_t i, const torch::Tensor& b, int64_t j) {
  const int64_t width = a.size(1);
  const float* x = a.data_ptr<float>() + i * width;
  const float* y = b.data_ptr<float>() + j * width;
  constexpr int kLanes = 16;
  float lanes[kLanes] = {};
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += x[c + lane] * y[c + lane];
  }
  float sum = 0.0f;
  for (; c < width; ++c) sum += x[c] * y[c];
  for (const float lane : lanes) sum += lane;
  return sum;
}

template <class F>
HistoryPairs Best(const ModelSpec& spec, const Batch& batch, const F& relevance) {
  PairMaker maker(spec, batch);
  for (size_t f = 0; f < batch.full.rows; ++f) {
    maker.AddBest(f, spec.search.found,
                  [&](size_t candidate, int32_t row) { return relevance(maker, candidate, row); });
  }
  return maker.Take();
}

// Places of the slot's ids in the batch's unique rows, kNowhere where there is none or it is
// unknown.
std::vector<uint32_t> PlacesOf(const TokenColumns& view,
                               const std::vector<std::vector<uint32_t>>& index, int64_t slot,
                               uint32_t unknown) {
  const auto found = std::find(view.slots.begin(), view.slots.end(), slot);
  GRAB_CHECK(found != view.slots.end());
  const auto column = static_cast<size_t>(found - view.slots.begin());
  const std::vector<uint32_t>& offsets = view.columns[column].offsets;
  std::vector<uint32_t> places;
  for (uint32_t row = 0; row < view.rows; ++row) {
    const bool has = offsets[row + 1] > offsets[row];
    const uint32_t place = has ? index[column][offsets[row]] : BatchLookup::kNowhere;
    places.push_back(place == unknown ? BatchLookup::kNowhere : place);
  }
  return places;
}

// Columns of a view's slots that the other view has as well.
torch::Tensor SharedColumns(const TokenSpec& spec, bool TokenSlot::*view) {
  std::vector<int64_t> columns;
  int64_t at = 0;
  for (const TokenSlot& slot : spec.slots) {
    if (!(slot.*view)) continue;
    for (uint32_t c = 0; c < slot.width; ++c, ++at) {
      if (slot.partial && slot.full) columns.push_back(at);
    }
  }
  return torch::tensor(columns, torch::kInt64);
}

std::vector<uint64_t> Hashes(const torch::Tensor& vectors, const torch::Tensor& planes) {
  const torch::Tensor sides = HeadProducts(vectors, planes, 1).contiguous();
  const float* side = sides.data_ptr<float>();
  std::vector<uint64_t> hashes(static_cast<size_t>(vectors.size(0)));
  for (uint64_t& hash : hashes) {
    for (int64_t bit = 0; bit < planes.size(0); ++bit) {
      hash = hash << 1 | static_cast<uint64_t>(*side++ > 0.0f);
    }
  }
  return hashes;
}

torch::Tensor Planes(int64_t count, int64_t width) {
  Rng rng(kPlanesSeed);
  torch::Tensor planes = torch::empty({count, width});
  float* value = planes.data_ptr<float>();
  for (int64_t i = 0; i < planes.numel(); ++i) value[i] = static_cast<float>(rng.Normal());
  return planes;
}

}  // namespace

HistoryPairs NewestEvents(const ModelSpec& spec, const Batch& batch) {
  PairMaker maker(spec, batch);
  const auto recent = static_cast<int32_t>(spec.search.recent);
  for (size_t f = 0; f < batch.full.rows; ++f) {
    const int32_t end = maker.end(f);
    for (int32_t row = std::max(maker.begin(f), end - recent); row < end; ++row) maker.Add(f, row);
  }
  return maker.Take();
}

HistoryPairs SharingEvents(const ModelSpec& spec, const Batch& batch, const BatchLookup& lookup) {
  const int64_t slot = spec.search.slot;
  const auto table = static_cast<size_t>(spec.tokens.slots[static_cast<size_t>(slot)].table);
  const uint32_t unknown = lookup.unknown_place[table];
  const auto events = PlacesOf(batch.partial, lookup.partial_index, slot, unknown);
  const auto candidates = PlacesOf(batch.full, lookup.full_index, slot, unknown);
  PairMaker maker(spec, batch);
  for (size_t f = 0; f < batch.full.rows; ++f) {
    if (candidates[f] == BatchLookup::kNowhere) continue;
    std::vector<int32_t> rows;
    for (int32_t row = maker.end(f) - 1; row >= maker.begin(f); --row) {
      if (static_cast<int64_t>(rows.size()) == spec.search.found) break;
      if (events[maker.event(row)] == candidates[f]) rows.push_back(row);
    }
    for (auto row = rows.rbegin(); row != rows.rend(); ++row) maker.Add(f, *row);
  }
  return maker.Take();
}

HistoryPairs LargestProducts(const ModelSpec& spec, const Batch& batch, const torch::Tensor& query,
                             const torch::Tensor& key) {
  const torch::Tensor q = Values(query), k = Values(key);
  return Best(spec, batch, [&](const PairMaker& maker, size_t candidate, int32_t row) {
    return Product(q, static_cast<int64_t>(candidate), k, maker.event(row));
  });
}

HistoryPairs LargestLogits(const ModelSpec& spec, const Batch& batch, const torch::Tensor& query,
                           const torch::Tensor& key, const torch::Tensor& time,
                           const torch::Tensor& action) {
  const torch::Tensor q = Values(query), k = Values(key);
  const auto mean = [](const torch::Tensor& bias) { return Values(bias).mean(0).contiguous(); };
  const torch::Tensor mean_time = mean(time), mean_action = mean(action);
  const float* time_bias = mean_time.data_ptr<float>();
  const float* action_bias = mean_action.data_ptr<float>();
  // The products of the heads add up to that of the whole vectors.
  const float scale =
      1.0f / (static_cast<float>(spec.heads) * std::sqrt(static_cast<float>(spec.head_width())));
  return Best(spec, batch, [&](const PairMaker& maker, size_t candidate, int32_t row) {
    return scale * Product(q, static_cast<int64_t>(candidate), k, maker.event(row)) +
           time_bias[maker.TimeBucketOf(candidate, row)] + action_bias[maker.action(row)];
  });
}

HistoryPairs NearestHashes(const ModelSpec& spec, const Batch& batch, const torch::Tensor& full,
                           const torch::Tensor& partial) {
  const torch::Tensor a =
      Values(full).index_select(1, SharedColumns(spec.tokens, &TokenSlot::full));
  const torch::Tensor b =
      Values(partial).index_select(1, SharedColumns(spec.tokens, &TokenSlot::partial));
  const torch::Tensor planes = Planes(spec.search.hash_bits, a.size(1));
  const std::vector<uint64_t> candidates = Hashes(a, planes), events = Hashes(b, planes);
  return Best(spec, batch, [&](const PairMaker& maker, size_t candidate, int32_t row) {
    return -static_cast<float>(std::popcount(candidates[candidate] ^ events[maker.event(row)]));
  });
}

}  // namespace grab
