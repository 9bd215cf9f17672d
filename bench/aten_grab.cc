#include "bench/aten_grab.h"

#include "base/check.h"

namespace grab::bench {
namespace {

// The rows of users [begin, end) of one view, each user padded to `padded` rows (0: as it is).
std::vector<int64_t> PaddedRows(const std::vector<int64_t>& offsets, int64_t begin, int64_t end,
                                bool pad) {
  int64_t padded = 0;
  for (size_t s = 0; pad && s + 1 < offsets.size(); ++s) {
    padded = std::max(padded, offsets[s + 1] - offsets[s]);
  }
  std::vector<int64_t> rows;
  for (auto s = static_cast<size_t>(begin); s < static_cast<size_t>(end); ++s) {
    const int64_t count = offsets[s + 1] - offsets[s];
    for (int64_t i = 0; i < std::max(padded, count); ++i) {
      rows.push_back(i < count ? offsets[s] + i : -1);
    }
  }
  return rows;
}

std::vector<AtenBatch::Slot> MakeSlots(const ModelSpec& spec, const TokenColumns& view,
                                       const std::vector<std::vector<uint32_t>>& index,
                                       const std::vector<int64_t>& rows, torch::ScalarType type) {
  std::vector<AtenBatch::Slot> slots;
  for (size_t c = 0; c < view.columns.size(); ++c) {
    const TokenSlot& slot = spec.tokens.slots[static_cast<size_t>(view.slots[c])];
    GRAB_CHECK_MSG(slot.table >= 0, slot.name);
    const SlotColumn& column = view.columns[c];
    std::vector<int64_t> places, offsets = {0};
    std::vector<float> weights;
    for (const int64_t row : rows) {
      for (uint32_t i = row < 0 ? 0 : column.offsets[static_cast<size_t>(row)];
           row >= 0 && i < column.offsets[static_cast<size_t>(row) + 1]; ++i) {
        places.push_back(index[c][i]);
        weights.push_back(column.weights[i]);
      }
      offsets.push_back(static_cast<int64_t>(places.size()));
    }
    slots.push_back({static_cast<size_t>(slot.table), torch::tensor(places, torch::kInt64),
                     torch::tensor(offsets, torch::kInt64), torch::tensor(weights).to(type)});
  }
  return slots;
}

// As LabelLoss weights them: each task's mean over the rows of the whole batch that know it.
void MakeLabels(const ModelSpec& spec, const Batch& batch, torch::ScalarType type, AtenBatch& out) {
  const auto tasks = static_cast<int64_t>(spec.tasks.size());
  const auto rows = static_cast<int64_t>(out.full_row_of.size());
  torch::Tensor labels = torch::zeros({rows, tasks}, torch::kFloat64);
  torch::Tensor weights = torch::zeros({rows, tasks}, torch::kFloat64);
  auto label = labels.accessor<double, 2>();
  auto weight = weights.accessor<double, 2>();
  for (int64_t t = 0; t < tasks; ++t) {
    int64_t known = 0;
    for (const uint32_t bits : batch.labels_known) known += bits >> t & 1u;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = out.full_row_of[static_cast<size_t>(r)];
      if (row < 0 || (batch.labels_known[static_cast<size_t>(row)] >> t & 1u) == 0) continue;
      label[r][t] = static_cast<double>(batch.labels[static_cast<size_t>(row)] >> t & 1u);
      weight[r][t] = 1.0 / static_cast<double>(known);
    }
  }
  out.labels = labels.to(type);
  out.label_weights = weights.to(type);
}

// Place of each row among the padded ones.
torch::Tensor ChannelTokens(const ChannelBatch& channel, const PaddedChannel& padded,
                            const std::vector<int64_t>& token_rows) {
  std::vector<int64_t> place_of;
  for (size_t place = 0; place < token_rows.size(); ++place) {
    const int64_t row = token_rows[place];
    if (row < 0) continue;
    if (static_cast<size_t>(row) >= place_of.size()) place_of.resize(static_cast<size_t>(row) + 1);
    place_of[static_cast<size_t>(row)] = static_cast<int64_t>(place);
  }
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < padded.partial_rows; ++i) {
    const int64_t row = padded.row_of[static_cast<size_t>(i)];
    tokens.push_back(row < 0 ? 0 : place_of[channel.token[static_cast<size_t>(row)]]);
  }
  return torch::tensor(tokens, torch::kInt64);
}

}  // namespace

std::vector<AtenBatch> MakeAtenBatches(const ModelSpec& spec, const Batch& batch,
                                       const BatchLookup& lookup, const Layout& layout,
                                       torch::ScalarType type) {
  const Segments segments(batch);
  const bool pad = layout.kind == Layout::kPadded;
  const int64_t users = pad ? layout.users : segments.size();
  std::vector<AtenBatch> batches;
  for (int64_t begin = 0; begin < segments.size(); begin += users) {
    const int64_t end = std::min(begin + users, segments.size());
    AtenBatch& out = batches.emplace_back();
    const std::vector<int64_t> tokens = PaddedRows(segments.partial, begin, end, pad);
    out.full_row_of = PaddedRows(segments.full, begin, end, pad);
    out.partial = MakeSlots(spec, batch.partial, lookup.partial_index, tokens, type);
    out.full = MakeSlots(spec, batch.full, lookup.full_index, out.full_row_of, type);
    for (size_t c = 0; c < batch.channels.size(); ++c) {
      out.channels.push_back(MakeChannel(batch, segments, c, layout, begin, end));
      out.channel_token.push_back(ChannelTokens(batch.channels[c], out.channels.back(), tokens));
    }
    MakeLabels(spec, batch, type, out);
  }
  return batches;
}

AtenGrab::AtenGrab(const ModelSpec& spec,
                   const std::vector<std::pair<std::string, torch::Tensor>>& weights)
    : spec_(spec) {
  for (const auto& [name, weight] : weights) {
    weights_[name] = weight.detach().clone().requires_grad_(true);
  }
  for (size_t c = 0; c < spec.channels.size(); ++c) pair_makers_.emplace_back(spec, c);
}

const torch::Tensor& AtenGrab::W(const std::string& name) const {
  const auto found = weights_.find(name);
  GRAB_CHECK_MSG(found != weights_.end(), name);
  return found->second;
}

torch::Tensor AtenGrab::Linear(const std::string& name, const torch::Tensor& x) const {
  return torch::linear(x, W(name + ".weight"), W(name + ".bias"));
}

torch::Tensor AtenGrab::Norm(const std::string& name, const torch::Tensor& x) const {
  return torch::layer_norm(x, {x.size(1)}, W(name + ".scale"), W(name + ".shift"));
}

torch::Tensor AtenGrab::Token(const std::string& name, const std::vector<AtenBatch::Slot>& slots,
                              const std::vector<torch::Tensor>& rows) const {
  constexpr int64_t kSum = 0;
  std::vector<torch::Tensor> parts;
  for (const AtenBatch::Slot& slot : slots) {
    parts.push_back(std::get<0>(torch::embedding_bag(rows[slot.table], slot.index, slot.offsets,
                                                     false, kSum, false, slot.weights, true)));
  }
  const torch::Tensor x = Norm(name + ".norm", torch::cat(parts, 1));
  return Linear(name + ".out", torch::gelu(Linear(name + ".hidden", x))) *
         torch::sigmoid(Linear(name + ".gate", x));
}

std::vector<torch::Tensor> AtenGrab::Mix(int64_t layer,
                                         const std::vector<torch::Tensor>& full) const {
  const torch::Tensor all = torch::cat(full, 1);
  const torch::Tensor gated = torch::sigmoid(Linear(absl::StrCat("mix.", layer), all)) * all;
  const std::vector<torch::Tensor> parts = gated.chunk(static_cast<int64_t>(full.size()), 1);
  std::vector<torch::Tensor> mixed = full;
  for (size_t c = 0; c < full.size(); ++c) {
    for (size_t i = 0; i < full.size(); ++i) {
      if (i != c) mixed[c] = mixed[c] + parts[i];
    }
  }
  return mixed;
}

torch::Tensor AtenGrab::Layer(const std::string& prefix, const PaddedChannel& channel,
                              const std::vector<Pairs>& pairs, const torch::Tensor& x,
                              int64_t queries) const {
  const int64_t d = spec_.d_model;
  const auto last = [&](const torch::Tensor& y) {
    return y.narrow(0, y.size(0) - queries, queries);
  };
  const torch::Tensor normed = spec_.pre_norm ? Norm(prefix + "attention.norm", x) : x;
  const torch::Tensor weight = W(prefix + "attention.qkv.weight");
  const torch::Tensor bias = W(prefix + "attention.qkv.bias");
  const torch::Tensor q = torch::linear(last(normed), weight.narrow(0, 0, d), bias.narrow(0, 0, d));
  const torch::Tensor kv =
      torch::linear(normed, weight.narrow(0, d, 2 * d), bias.narrow(0, d, 2 * d));
  const Codebooks codebooks = {W(prefix + "attention.codebook_position"),
                               W(prefix + "attention.codebook_time"),
                               W(prefix + "attention.codebook_action")};
  torch::Tensor h =
      last(x) + Linear(prefix + "attention.out", AtenAttention(channel, pairs, q, kv, codebooks));
  if (!spec_.pre_norm) h = Norm(prefix + "attention.norm", h);
  const torch::Tensor ffn_in = spec_.pre_norm ? Norm(prefix + "ffn.norm", h) : h;
  h = h + Linear(prefix + "ffn.out", torch::gelu(Linear(prefix + "ffn.hidden", ffn_in)));
  return spec_.pre_norm ? h : Norm(prefix + "ffn.norm", h);
}

torch::Tensor AtenGrab::Forward(const AtenBatch& batch,
                                const std::vector<torch::Tensor>& rows) const {
  const torch::Tensor candidates = Token("tokenizer.full", batch.full, rows);
  const torch::Tensor tokens = Token("tokenizer.partial", batch.partial, rows);
  const size_t count = spec_.channels.size();
  std::vector<torch::Tensor> partial, full(count, candidates);
  std::vector<std::vector<Pairs>> pairs(count);  // shared by the layers
  for (size_t c = 0; c < count; ++c) {
    partial.push_back(tokens.index_select(0, batch.channel_token[c]));
    for (const Rectangle& r : batch.channels[c].rectangles) {
      pairs[c].push_back(pair_makers_[c].Make(r));
    }
  }
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    if (spec_.mixes()) full = Mix(layer, full);
    for (size_t c = 0; c < count; ++c) {
      const PaddedChannel& channel = batch.channels[c];
      const bool last = layer + 1 == spec_.layers;
      const torch::Tensor x = torch::cat({partial[c], full[c]}, 0);
      const torch::Tensor out =
          Layer(LayerPrefix(c, layer), channel, pairs[c], x, last ? channel.full_rows : x.size(0));
      if (!last) partial[c] = out.narrow(0, 0, channel.partial_rows);
      full[c] = out.narrow(0, out.size(0) - channel.full_rows, channel.full_rows);
    }
  }
  for (size_t c = 0; spec_.pre_norm && c < count; ++c) {
    full[c] = Norm(absl::StrCat("channel.", c, ".norm"), full[c]);
  }
  torch::Tensor z = torch::cat(full, 1);
  for (size_t i = 0; i < spec_.head_hidden.size(); ++i) {
    z = torch::gelu(Linear(absl::StrCat("head.", i), z));
  }
  return Linear(absl::StrCat("head.", spec_.head_hidden.size()), z);
}

torch::Tensor AtenGrab::Loss(const AtenBatch& batch, const std::vector<torch::Tensor>& rows) const {
  return torch::binary_cross_entropy_with_logits(Forward(batch, rows), batch.labels,
                                                 batch.label_weights, {}, at::Reduction::Sum);
}

}  // namespace grab::bench
