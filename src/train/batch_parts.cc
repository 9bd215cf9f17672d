#include "train/batch_parts.h"

#include <algorithm>
#include <numeric>

namespace grab {
namespace {

// A multiply-add of attention takes about this many times as long as one of a matrix product.
constexpr double kPairSlowness = 1.5;

// Multiply-adds of a segment in one layer of every channel and in the tokenizer, in the unit of a
// matrix product's. The last layer's shorter work is left out: it is nearly the same share of all.
double SegmentCost(const ModelSpec& spec, const Batch& batch, size_t segment) {
  const auto d = static_cast<double>(spec.d_model);
  const auto token_cost = [&](uint32_t width) {
    return (static_cast<double>(width) + d) * static_cast<double>(spec.tokenizer_hidden) +
           static_cast<double>(width) * d;
  };
  const uint32_t full_begin = batch.full_offsets[segment];
  const uint32_t full_end = batch.full_offsets[segment + 1];
  double cost = (full_end - full_begin) * token_cost(spec.tokens.FullWidth());
  if (!HasHistory(spec.kind)) return cost;
  cost += (batch.partial_offsets[segment + 1] - batch.partial_offsets[segment]) *
          token_cost(spec.tokens.PartialWidth());
  const double row_cost = d * (4.0 * d + 2.0 * static_cast<double>(spec.ffn_hidden));
  for (const ChannelBatch& channel : batch.channels) {
    const uint32_t begin = channel.segment_offsets[segment];
    const uint32_t end = channel.segment_offsets[segment + 1];
    double pairs = (end - begin) + (full_end - full_begin);
    for (uint32_t r = begin; r < end; ++r) pairs += r - channel.partial_begin[r];
    for (uint32_t r = full_begin; r < full_end; ++r) {
      pairs += channel.full_end[r] - channel.full_begin[r];
    }
    cost += static_cast<double>(spec.layers) *
            ((end - begin + full_end - full_begin) * row_cost + kPairSlowness * 2.0 * d * pairs);
  }
  return cost;
}

// The segments of each part, ascending.
std::vector<std::vector<size_t>> Deal(const std::vector<double>& costs, int parts) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  const size_t count = std::min(costs.size(), static_cast<size_t>(std::max(parts, 1)));
  std::vector<std::vector<size_t>> dealt(count);
  std::vector<double> load(count, 0.0);
  for (const size_t segment : order) {
    const auto least =
        static_cast<size_t>(std::min_element(load.begin(), load.end()) - load.begin());
    dealt[least].push_back(segment);
    load[least] += costs[segment];
  }
  for (std::vector<size_t>& segments : dealt) std::sort(segments.begin(), segments.end());
  return dealt;
}

template <class T>
void AppendRange(const std::vector<T>& from, size_t begin, size_t end, std::vector<T>& to) {
  to.insert(to.end(), from.begin() + static_cast<ptrdiff_t>(begin),
            from.begin() + static_cast<ptrdiff_t>(end));
}

void AppendTokens(const TokenSpec& spec, const TokenColumns& from,
                  const std::vector<std::vector<uint32_t>>& from_index, uint32_t begin,
                  uint32_t end, TokenColumns& to, std::vector<std::vector<uint32_t>>& to_index) {
  for (size_t c = 0; c < from.columns.size(); ++c) {
    const TokenSlot& slot = spec.slots[static_cast<size_t>(from.slots[c])];
    const SlotColumn& column = from.columns[c];
    SlotColumn& out = to.columns[c];
    if (slot.table < 0) {
      AppendRange(column.dense, static_cast<size_t>(begin) * slot.width,
                  static_cast<size_t>(end) * slot.width, out.dense);
      continue;
    }
    const uint32_t first = column.offsets[begin];
    const auto shift = static_cast<uint32_t>(out.weights.size()) - first;
    for (uint32_t r = begin; r < end; ++r) out.offsets.push_back(column.offsets[r + 1] + shift);
    AppendRange(column.weights, first, column.offsets[end], out.weights);
    AppendRange(from_index[c], first, column.offsets[end], to_index[c]);
  }
  to.rows += end - begin;
}

void AppendChannel(const Batch& batch, size_t c, size_t segment, uint32_t token_shift,
                   ChannelBatch& out) {
  const ChannelBatch& channel = batch.channels[c];
  const uint32_t begin = channel.segment_offsets[segment];
  const uint32_t end = channel.segment_offsets[segment + 1];
  const auto shift = static_cast<int32_t>(out.token.size()) - static_cast<int32_t>(begin);
  for (uint32_t r = begin; r < end; ++r) {
    out.token.push_back(channel.token[r] + token_shift);
    out.partial_begin.push_back(channel.partial_begin[r] + shift);
  }
  AppendRange(channel.key_time_ms, begin, end, out.key_time_ms);
  AppendRange(channel.key_action, begin, end, out.key_action);
  for (uint32_t r = batch.full_offsets[segment]; r < batch.full_offsets[segment + 1]; ++r) {
    out.full_begin.push_back(channel.full_begin[r] + shift);
    out.full_end.push_back(channel.full_end[r] + shift);
  }
  out.segment_offsets.push_back(static_cast<uint32_t>(out.token.size()));
}

void AppendSegment(const ModelSpec& spec, const Batch& batch, const BatchLookup& lookup,
                   size_t segment, BatchPart& part) {
  const uint32_t partial_begin = batch.partial_offsets[segment];
  const uint32_t full_begin = batch.full_offsets[segment];
  const uint32_t full_end = batch.full_offsets[segment + 1];
  // Offsets wrap around where the part is behind the batch; the sums are right modulo 2^32.
  const uint32_t token_shift = part.batch.partial.rows - partial_begin;
  for (size_t c = 0; c < batch.channels.size(); ++c) {
    AppendChannel(batch, c, segment, token_shift, part.batch.channels[c]);
  }
  AppendTokens(spec.tokens, batch.partial, lookup.partial_index, partial_begin,
               batch.partial_offsets[segment + 1], part.batch.partial, part.lookup.partial_index);
  AppendTokens(spec.tokens, batch.full, lookup.full_index, full_begin, full_end, part.batch.full,
               part.lookup.full_index);
  AppendRange(batch.request_time_ms, full_begin, full_end, part.batch.request_time_ms);
  AppendRange(batch.page_id, full_begin, full_end, part.batch.page_id);
  if (!batch.value.empty()) AppendRange(batch.value, full_begin, full_end, part.batch.value);
  AppendRange(batch.labels, full_begin, full_end, part.batch.labels);
  AppendRange(batch.labels_known, full_begin, full_end, part.batch.labels_known);
  for (uint32_t r = full_begin; r < full_end; ++r) part.full_rows.push_back(r);
  part.batch.partial_offsets.push_back(part.batch.partial.rows);
  part.batch.full_offsets.push_back(part.batch.full.rows);
}

TokenColumns EmptyTokens(const TokenSpec& spec, const TokenColumns& like) {
  TokenColumns tokens;
  tokens.slots = like.slots;
  tokens.columns.resize(like.columns.size());
  for (size_t c = 0; c < like.slots.size(); ++c) {
    if (spec.slots[static_cast<size_t>(like.slots[c])].table >= 0) {
      tokens.columns[c].offsets.push_back(0);
    }
  }
  return tokens;
}

}  // namespace

std::vector<BatchPart> SplitBatch(const ModelSpec& spec, const Batch& batch,
                                  const BatchLookup& lookup, int parts) {
  std::vector<double> costs;
  for (size_t s = 0; s + 1 < batch.full_offsets.size(); ++s) {
    costs.push_back(SegmentCost(spec, batch, s));
  }
  std::vector<BatchPart> split;
  for (const std::vector<size_t>& segments : Deal(costs, parts)) {
    BatchPart& part = split.emplace_back();
    part.batch.partial = EmptyTokens(spec.tokens, batch.partial);
    part.batch.full = EmptyTokens(spec.tokens, batch.full);
    part.lookup.partial_index.resize(lookup.partial_index.size());
    part.lookup.full_index.resize(lookup.full_index.size());
    part.lookup.unknown_place = lookup.unknown_place;
    part.batch.channels.resize(batch.channels.size());
    for (ChannelBatch& channel : part.batch.channels) channel.segment_offsets.push_back(0);
    part.batch.partial_offsets.push_back(0);
    part.batch.full_offsets.push_back(0);
    for (const size_t segment : segments) AppendSegment(spec, batch, lookup, segment, part);
  }
  return split;
}

}  // namespace grab
