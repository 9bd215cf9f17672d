#include "model/forward.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/threads.h"
#include "kernels/dense_ops.h"
#include "kernels/embedding_pool.h"
#include "kernels/layer_norm.h"
#include "kernels/rab_simd.h"
#include "kernels/vector_ops.h"

namespace grab {
namespace {

using Matrix = std::vector<float>;

Matrix Concatenate(const std::vector<Matrix>& parts, int64_t rows, int64_t width) {
  Matrix out(static_cast<size_t>(rows * width) * parts.size());
  auto to = out.begin();
  for (int64_t r = 0; r < rows; ++r) {
    for (const Matrix& part : parts) {
      to = std::copy(part.begin() + r * width, part.begin() + (r + 1) * width, to);
    }
  }
  return out;
}

}  // namespace

Forward::Forward(const Model& model, int threads)
    : model_(model), spec_(model.spec), threads_(threads), lookup_(model.spec.tokens) {}

const float* Forward::W(const std::string& name) const {
  const auto found = model_.weights.find(name);
  GRAB_CHECK_MSG(found != model_.weights.end(), name);
  return found->second.data();
}

Status Forward::LinearTo(const std::string& name, int64_t rows, int64_t in, int64_t out,
                         const Matrix& x, Matrix& y) const {
  y.resize(static_cast<size_t>(rows * out));
  return Linear(rows, out, in, x.data(), in, W(name + ".weight"), W(name + ".bias"), y.data(), out);
}

void Forward::NormTo(const std::string& name, int64_t rows, int64_t width, const Matrix& x,
                     Matrix& y) const {
  y.resize(static_cast<size_t>(rows * width));
  LayerNormForward(rows, width, x.data(), W(name + ".scale"), W(name + ".shift"), y.data(),
                   nullptr);
}

StatusOr<std::vector<float>> Forward::Logits(const Batch& batch) {
  const BatchLookup lookup = lookup_.Find(batch, model_.tables);
  std::vector<Matrix> rows(model_.tables.size());
  for (size_t t = 0; t < rows.size(); ++t) {
    const std::vector<uint32_t>& unique = lookup.unique_rows[t];
    rows[t].resize(unique.size() * model_.tables[t].dim());
    model_.tables[t].ReadRows(unique, rows[t].data());
  }
  const auto token = [&](const char* name, const TokenColumns& view,
                         const std::vector<std::vector<uint32_t>>& index, int64_t width) {
    return GateMlp(name, view.rows, width, Pool(view, index, rows));
  };
  GRAB_ASSIGN_OR_RETURN(Matrix full, token("tokenizer.full", batch.full, lookup.full_index,
                                           spec_.tokens.FullWidth()));
  if (spec_.kind == ModelKind::kDlrm) return Head(batch.full.rows, std::move(full));
  GRAB_ASSIGN_OR_RETURN(
      const Matrix partial,
      token("tokenizer.partial", batch.partial, lookup.partial_index, spec_.tokens.PartialWidth()));
  GRAB_ASSIGN_OR_RETURN(const std::vector<Matrix> channels, Channels(batch, partial, full));
  return Head(batch.full.rows, Concatenate(channels, batch.full.rows, spec_.d_model));
}

Forward::Matrix Forward::Pool(const TokenColumns& view,
                              const std::vector<std::vector<uint32_t>>& index,
                              const std::vector<Matrix>& rows) const {
  int64_t stride = 0;
  for (const int slot : view.slots) stride += spec_.tokens.slots[static_cast<size_t>(slot)].width;
  Matrix out(static_cast<size_t>(view.rows * stride));
  int64_t offset = 0;
  for (size_t c = 0; c < view.columns.size(); ++c) {
    const TokenSlot& slot = spec_.tokens.slots[static_cast<size_t>(view.slots[c])];
    const SlotColumn& column = view.columns[c];
    if (slot.table >= 0) {
      EmbeddingPoolForward<float>(
          {view.rows, column.offsets.data(), index[c].data(), column.weights.data()},
          rows[static_cast<size_t>(slot.table)].data(), slot.width, out.data() + offset, stride);
    } else {
      for (int64_t r = 0; r < view.rows; ++r) {
        std::copy_n(column.dense.begin() + r * slot.width, slot.width,
                    out.begin() + r * stride + offset);
      }
    }
    offset += slot.width;
  }
  return out;
}

StatusOr<Forward::Matrix> Forward::GateMlp(const std::string& name, int64_t rows, int64_t width,
                                           const Matrix& v) const {
  Matrix x, hidden, out, gate;
  NormTo(name + ".norm", rows, width, v, x);
  GRAB_RETURN_IF_ERROR(LinearTo(name + ".hidden", rows, width, spec_.tokenizer_hidden, x, hidden));
  GeluForward(static_cast<int64_t>(hidden.size()), hidden.data(), hidden.data());
  GRAB_RETURN_IF_ERROR(
      LinearTo(name + ".out", rows, spec_.tokenizer_hidden, spec_.d_model, hidden, out));
  GRAB_RETURN_IF_ERROR(LinearTo(name + ".gate", rows, width, spec_.d_model, x, gate));
  GateForward(static_cast<int64_t>(out.size()), gate.data(), out.data(), out.data());
  return out;
}

StatusOr<Forward::Matrix> Forward::Head(int64_t rows, Matrix z) const {
  int64_t in = spec_.d_model * std::max<int64_t>(1, static_cast<int64_t>(spec_.channels.size()));
  Matrix next;
  for (size_t i = 0; i < spec_.head_hidden.size(); ++i) {
    GRAB_RETURN_IF_ERROR(
        LinearTo(absl::StrCat("head.", i), rows, in, spec_.head_hidden[i], z, next));
    GeluForward(static_cast<int64_t>(next.size()), next.data(), next.data());
    z.swap(next);
    in = spec_.head_hidden[i];
  }
  GRAB_RETURN_IF_ERROR(LinearTo(absl::StrCat("head.", spec_.head_hidden.size()), rows, in,
                                static_cast<int64_t>(spec_.tasks.size()), z, next));
  return next;
}

StatusOr<std::vector<Forward::Matrix>> Forward::Channels(const Batch& batch, const Matrix& partial,
                                                         const Matrix& full) const {
  const size_t count = spec_.channels.size();
  const int64_t d = spec_.d_model;
  std::vector<ChannelRows> rows;
  std::vector<Matrix> partial_state(count);
  std::vector<Matrix> full_state(count, full);
  for (size_t c = 0; c < count; ++c) {
    rows.emplace_back(spec_, batch, c);
    for (const uint32_t token : batch.channels[c].token) {
      partial_state[c].insert(partial_state[c].end(), partial.begin() + token * d,
                              partial.begin() + (token + 1) * d);
    }
  }
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    const bool last = layer + 1 == spec_.layers;
    if (spec_.mixes()) GRAB_RETURN_IF_ERROR(Mix(layer, batch.full.rows, full_state));
    for (size_t c = 0; c < count; ++c) {
      Matrix x = std::move(partial_state[c]);
      x.insert(x.end(), full_state[c].begin(), full_state[c].end());
      GRAB_ASSIGN_OR_RETURN(const Matrix out, Layer(c, layer, rows[c], x,
                                                    last ? rows[c].full_rows() : rows[c].rows()));
      const auto split = out.end() - rows[c].full_rows() * d;
      partial_state[c].assign(out.begin(), split);
      full_state[c].assign(split, out.end());
    }
  }
  for (size_t c = 0; spec_.pre_norm && c < count; ++c) {
    NormTo(absl::StrCat("channel.", c, ".norm"), batch.full.rows, d, full_state[c], full_state[c]);
  }
  return full_state;
}

Status Forward::Mix(int64_t layer, int64_t rows, std::vector<Matrix>& full) const {
  const int64_t d = spec_.d_model;
  const auto width = static_cast<int64_t>(full.size()) * d;
  const Matrix joined = Concatenate(full, rows, d);
  Matrix gate;
  GRAB_RETURN_IF_ERROR(LinearTo(absl::StrCat("mix.", layer), rows, width, width, joined, gate));
  Matrix gated = joined;
  GateForward(static_cast<int64_t>(gated.size()), gate.data(), gated.data(), gated.data());
  for (size_t c = 0; c < full.size(); ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < full.size(); ++i) {
        if (i == c) continue;
        AddTo(d, gated.data() + r * width + static_cast<int64_t>(i) * d, full[c].data() + r * d);
      }
    }
  }
  return absl::OkStatus();
}

StatusOr<Forward::Matrix> Forward::Layer(size_t channel, int64_t layer, const ChannelRows& rows,
                                         const Matrix& x, int64_t queries) const {
  const std::string prefix = LayerPrefix(channel, layer);
  const int64_t d = spec_.d_model;
  const auto size = static_cast<int64_t>(queries * d);
  Matrix h(x.end() - size, x.end());
  Matrix normed;
  if (spec_.pre_norm) {
    NormTo(prefix + "attention.norm", rows.rows(), d, x, normed);
    GRAB_ASSIGN_OR_RETURN(const Matrix attended, Attention(channel, layer, rows, normed, queries));
    AddTo(size, attended.data(), h.data());
    NormTo(prefix + "ffn.norm", queries, d, h, normed);
    GRAB_ASSIGN_OR_RETURN(const Matrix ffn, Ffn(prefix, queries, normed));
    AddTo(size, ffn.data(), h.data());
    return h;
  }
  GRAB_ASSIGN_OR_RETURN(const Matrix attended, Attention(channel, layer, rows, x, queries));
  AddTo(size, attended.data(), h.data());
  NormTo(prefix + "attention.norm", queries, d, h, h);
  GRAB_ASSIGN_OR_RETURN(const Matrix ffn, Ffn(prefix, queries, h));
  AddTo(size, ffn.data(), h.data());
  NormTo(prefix + "ffn.norm", queries, d, h, h);
  return h;
}

StatusOr<Forward::Matrix> Forward::Attention(size_t channel, int64_t layer, const ChannelRows& rows,
                                             const Matrix& tokens, int64_t queries) const {
  const std::string prefix = LayerPrefix(channel, layer);
  const int64_t d = spec_.d_model;
  const int64_t width = spec_.latent_width > 0 ? spec_.latent_width : d;
  Matrix latent;
  if (spec_.latent_width > 0) {
    GRAB_RETURN_IF_ERROR(
        LinearTo(prefix + "attention.latent", rows.rows(), d, width, tokens, latent));
  }
  const Matrix& x = spec_.latent_width > 0 ? latent : tokens;
  const float* weight = W(prefix + "attention.qkv.weight");
  const float* bias = W(prefix + "attention.qkv.bias");
  Matrix q(static_cast<size_t>(queries * d));
  Matrix kv(static_cast<size_t>(rows.rows() * 2 * d));
  GRAB_RETURN_IF_ERROR(Linear(queries, d, width, x.data() + (rows.rows() - queries) * width, width,
                              weight, bias, q.data(), d));
  GRAB_RETURN_IF_ERROR(Linear(rows.rows(), 2 * d, width, x.data(), width, weight + d * width,
                              bias + d, kv.data(), 2 * d));
  Matrix out(q.size());
  const RabInputs<float> inputs = {q.data(),
                                   kv.data(),
                                   kv.data() + d,
                                   d,
                                   2 * d,
                                   W(prefix + "attention.codebook_position"),
                                   W(prefix + "attention.codebook_time"),
                                   W(prefix + "attention.codebook_action")};
  const RabShape shape = rows.Shape(queries);
  std::vector<float> codebooks(static_cast<size_t>(RabCodebookFloats(shape)));
  PackRabCodebooks(shape, inputs.codebook_position, inputs.codebook_time, inputs.codebook_action,
                   codebooks.data());
  const RabProblem problem = rows.Problem(queries, inputs, codebooks.data());
  std::vector<int64_t> bounds(static_cast<size_t>(threads_) + 1);
  SplitRabItems(problem, threads_, bounds.data());
  ParallelFor(threads_, threads_, [&](int, int64_t part, int64_t) {
    const AlignedBuffer scratch(RabForwardScratchBytes(shape, rows.segment_keys_max()));
    for (int64_t item = bounds[static_cast<size_t>(part)];
         item < bounds[static_cast<size_t>(part) + 1]; ++item) {
      const int64_t segment = item / spec_.heads;
      const int64_t head = item % spec_.heads;
      RabForward(problem, segment, segment + 1, head, head + 1, out.data(), nullptr,
                 scratch.data());
    }
  });
  if (observer_) Observe(channel, layer, rows, inputs, out, queries);
  Matrix projected;
  GRAB_RETURN_IF_ERROR(LinearTo(prefix + "attention.out", queries, d, d, out, projected));
  return projected;
}

// Full rows are the last ones of the queries.
void Forward::Observe(size_t channel, int64_t layer, const ChannelRows& rows,
                      RabInputs<float> inputs, const Matrix& out, int64_t queries) const {
  const int64_t full = rows.full_rows();
  const int64_t before = (queries - full) * spec_.d_model;
  inputs.q += before;
  observer_({channel, layer, rows.Shape(full), rows.Visibility(full), inputs, out.data() + before});
}

StatusOr<Forward::Matrix> Forward::Ffn(const std::string& prefix, int64_t rows,
                                       const Matrix& x) const {
  Matrix hidden, out;
  GRAB_RETURN_IF_ERROR(
      LinearTo(prefix + "ffn.hidden", rows, spec_.d_model, spec_.ffn_hidden, x, hidden));
  GeluForward(static_cast<int64_t>(hidden.size()), hidden.data(), hidden.data());
  GRAB_RETURN_IF_ERROR(
      LinearTo(prefix + "ffn.out", rows, spec_.ffn_hidden, spec_.d_model, hidden, out));
  return out;
}

}  // namespace grab
