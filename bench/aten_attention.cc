#include "bench/aten_attention.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/rab_buckets.h"

namespace grab::bench {
namespace {

torch::Tensor Longs(const std::vector<int64_t>& values, int64_t users) {
  return torch::tensor(values, torch::kInt64).reshape({users, -1});
}

// Rows of one rectangle, as they are filled.
struct Columns {
  std::vector<int64_t> begin, end, query_time, key_time, action;

  void Push(int64_t first, int64_t last, int64_t query_ms, int64_t key_ms, int64_t key_action) {
    begin.push_back(first);
    end.push_back(last);
    query_time.push_back(query_ms);
    key_time.push_back(key_ms);
    action.push_back(key_action);
  }
  void Pad(int64_t rows) {
    for (int64_t i = 0; i < rows; ++i) Push(0, 0, 0, 0, 0);
  }
};

class ChannelMaker {
 public:
  ChannelMaker(const Batch& batch, const Segments& segments, size_t channel)
      : batch_(batch), segments_(segments), rows_(batch.channels[channel]) {}

  int64_t partial_begin(int64_t segment) const {
    return rows_.segment_offsets[static_cast<size_t>(segment)];
  }
  int64_t partial(int64_t segment) const {
    return partial_begin(segment + 1) - partial_begin(segment);
  }
  int64_t full_begin(int64_t segment) const { return segments_.full[static_cast<size_t>(segment)]; }
  int64_t full(int64_t segment) const { return full_begin(segment + 1) - full_begin(segment); }

  // Users [begin, end) as one rectangle.
  void Add(int64_t begin, int64_t end, int64_t partial_max, int64_t full_max,
           std::vector<int64_t>& partial_rows, std::vector<int64_t>& full_rows,
           PaddedChannel& channel) const {
    Rectangle& r = channel.rectangles.emplace_back();
    r.users = end - begin;
    r.partial = partial_max;
    r.full = full_max;
    r.partial_begin = static_cast<int64_t>(partial_rows.size());
    r.full_begin = static_cast<int64_t>(full_rows.size());
    Columns columns;
    for (int64_t s = begin; s < end; ++s) {
      AddPartial(s, columns);
      columns.Pad(partial_max - partial(s));
      AddFull(s, columns);
      columns.Pad(full_max - full(s));
      Fill(partial_begin(s), partial(s), partial_max, partial_rows);
      Fill(full_begin(s), full(s), full_max, full_rows);
    }
    r.key_begin = Longs(columns.begin, r.users);
    r.key_end = Longs(columns.end, r.users);
    r.query_time_ms = Longs(columns.query_time, r.users);
    r.key_time_ms = Longs(columns.key_time, r.users);
    r.key_action = Longs(columns.action, r.users);
  }

 private:
  void AddPartial(int64_t segment, Columns& columns) const {
    const int64_t first = partial_begin(segment);
    for (int64_t i = 0; i < partial(segment); ++i) {
      const auto row = static_cast<size_t>(first + i);
      columns.Push(rows_.partial_begin[row] - first, i, rows_.key_time_ms[row],
                   rows_.key_time_ms[row], rows_.key_action[row]);
    }
  }
  void AddFull(int64_t segment, Columns& columns) const {
    const int64_t first = partial_begin(segment);
    for (int64_t i = 0; i < full(segment); ++i) {
      const auto row = static_cast<size_t>(full_begin(segment) + i);
      columns.Push(rows_.full_begin[row] - first, rows_.full_end[row] - first,
                   batch_.request_time_ms[row], 0, 0);
    }
  }
  static void Fill(int64_t first, int64_t count, int64_t padded, std::vector<int64_t>& rows) {
    for (int64_t i = 0; i < padded; ++i) rows.push_back(i < count ? first + i : -1);
  }

  const Batch& batch_;
  const Segments& segments_;
  const ChannelBatch& rows_;
};

torch::Tensor Heads(const torch::Tensor& x, int64_t heads) {  // [users, heads, rows, head_width]
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

Segments::Segments(const Batch& batch)
    : full(batch.full_offsets.begin(), batch.full_offsets.end()) {
  const size_t count = full.size() - 1;
  partial.assign(1, 0);
  for (size_t s = 0; s < count; ++s) {
    int64_t end = partial.back();
    for (const ChannelBatch& channel : batch.channels) {
      for (uint32_t i = channel.segment_offsets[s]; i < channel.segment_offsets[s + 1]; ++i) {
        end = std::max<int64_t>(end, channel.token[i] + 1);
      }
    }
    partial.push_back(end);
  }
}

PaddedChannel MakeChannel(const Batch& batch, const Segments& segments, size_t channel,
                          const Layout& layout, int64_t begin, int64_t end) {
  const ChannelMaker maker(batch, segments, channel);
  PaddedChannel padded;
  std::vector<int64_t> partial_rows, full_rows;
  if (layout.kind == Layout::kSegments) {
    for (int64_t s = begin; s < end; ++s) {
      maker.Add(s, s + 1, maker.partial(s), maker.full(s), partial_rows, full_rows, padded);
    }
  } else {
    int64_t partial_max = 0, full_max = 0;
    for (int64_t s = 0; s < segments.size(); ++s) {
      partial_max = std::max(partial_max, maker.partial(s));
      full_max = std::max(full_max, maker.full(s));
    }
    for (int64_t s = begin; s < end; s += layout.users) {
      maker.Add(s, std::min(end, s + layout.users), partial_max, full_max, partial_rows, full_rows,
                padded);
    }
  }
  padded.partial_rows = static_cast<int64_t>(partial_rows.size());
  padded.full_rows = static_cast<int64_t>(full_rows.size());
  padded.row_of = std::move(partial_rows);
  const auto partials = static_cast<int64_t>(batch.channels[channel].token.size());
  for (const int64_t row : full_rows) padded.row_of.push_back(row < 0 ? -1 : partials + row);
  return padded;
}

PairMaker::PairMaker(const ModelSpec& spec, size_t channel)
    : self_action_(spec.action_classes() - 1) {
  const auto buckets = PositionBuckets(spec.position_buckets, spec.DistanceMax(channel));
  position_bucket_ =
      torch::tensor(std::vector<int64_t>(buckets.begin(), buckets.end()), torch::kInt64);
  time_bound_ms_ = torch::tensor(TimeBoundsMs(spec.time_buckets, spec.time_max_s), torch::kInt64);
}

Pairs PairMaker::Make(const Rectangle& r) const {
  torch::NoGradGuard no_grad;
  const torch::Tensor row = torch::arange(r.rows(), torch::kInt64);
  const torch::Tensor own = row.unsqueeze(1) == row.unsqueeze(0);  // [rows, rows]
  const torch::Tensor begin = r.key_begin.unsqueeze(2);            // [users, rows, 1]
  const torch::Tensor end = r.key_end.unsqueeze(2);
  const torch::Tensor seen = (row >= begin) & (row < end);
  const torch::Tensor distance = (end - row).clamp(0, position_bucket_.size(0) - 1);
  const torch::Tensor age = r.query_time_ms.unsqueeze(2) - r.key_time_ms.unsqueeze(1);
  const torch::Tensor action = r.key_action.unsqueeze(1).expand_as(seen);
  const torch::Tensor position = position_bucket_.index_select(0, distance.flatten());
  Pairs pairs;
  pairs.visible = (seen | own).unsqueeze(1);
  pairs.position = position.view_as(distance).masked_fill(own, 0).unsqueeze(1);
  pairs.time = (torch::bucketize(age, time_bound_ms_) + 1).masked_fill_(own, 0).unsqueeze(1);
  pairs.action = action.masked_fill(own, self_action_).unsqueeze(1);
  return pairs;
}

torch::Tensor AtenAttention(const Pairs& pairs, const torch::Tensor& q, const torch::Tensor& kv,
                            const Codebooks& codebooks) {
  const int64_t heads = codebooks.position.size(0);
  const int64_t d = q.size(2);
  const int64_t queries = q.size(1);
  const torch::Tensor qh = Heads(q, heads);
  const torch::Tensor kh = Heads(kv.narrow(2, 0, d), heads);
  const torch::Tensor vh = Heads(kv.narrow(2, d, d), heads);
  const auto last = [&](const torch::Tensor& x) {  // rows of the queries
    return x.narrow(2, x.size(2) - queries, queries);
  };
  torch::Tensor logits = torch::matmul(qh, kh.transpose(2, 3));
  const auto bias = [&](const torch::Tensor& codebook, const torch::Tensor& bucket) {
    return torch::matmul(qh, codebook.transpose(1, 2))
        .gather(3, last(bucket).expand({-1, heads, -1, -1}));
  };
  logits = logits + bias(codebooks.position, pairs.position);
  logits = logits + bias(codebooks.time, pairs.time);
  logits = logits + bias(codebooks.action, pairs.action);
  logits = logits / std::sqrt(static_cast<double>(d / heads));
  logits = logits.masked_fill(~last(pairs.visible), -std::numeric_limits<double>::infinity());
  const torch::Tensor out = torch::matmul(torch::softmax(logits, 3), vh);
  return out.transpose(1, 2).reshape({q.size(0), queries, d});
}

torch::Tensor AtenAttention(const PaddedChannel& channel, const std::vector<Pairs>& pairs,
                            const torch::Tensor& q, const torch::Tensor& kv,
                            const Codebooks& codebooks) {
  const int64_t partials = channel.partial_rows;
  const bool full_only = q.size(0) == channel.full_rows && partials > 0;
  std::vector<torch::Tensor> partial_out, full_out;
  for (size_t i = 0; i < channel.rectangles.size(); ++i) {
    const Rectangle& r = channel.rectangles[i];
    const auto part = [&](const torch::Tensor& x, int64_t begin, int64_t rows) {
      return x.narrow(0, begin, r.users * rows).reshape({r.users, rows, x.size(1)});
    };
    const auto joined = [&](const torch::Tensor& x) {
      return torch::cat(
          {part(x, r.partial_begin, r.partial), part(x, partials + r.full_begin, r.full)}, 1);
    };
    const torch::Tensor out = AtenAttention(
        pairs[i], full_only ? part(q, r.full_begin, r.full) : joined(q), joined(kv), codebooks);
    if (!full_only) partial_out.push_back(out.narrow(1, 0, r.partial).reshape({-1, q.size(1)}));
    full_out.push_back(out.narrow(1, out.size(1) - r.full, r.full).reshape({-1, q.size(1)}));
  }
  partial_out.insert(partial_out.end(), full_out.begin(), full_out.end());
  return torch::cat(partial_out, 0);
}

}  // namespace grab::bench
