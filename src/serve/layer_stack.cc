#include "serve/layer_stack.h"

#include <algorithm>

#include "base/check.h"

namespace grab {
namespace {

Floats Allocate(int64_t floats) {
  Floats memory = hwy::AllocateAligned<float>(static_cast<size_t>(std::max<int64_t>(1, floats)));
  GRAB_CHECK_MSG(memory != nullptr, "out of memory for the scratch of an engine");
  return memory;
}

int64_t WidestHead(const ModelSpec& spec) {
  int64_t widest = 1;
  for (const int64_t width : spec.head_hidden) widest = std::max(widest, width);
  return widest;
}

}  // namespace

LayerStack::LayerStack(const PackedModel& model, int64_t rows_max)
    : model_(model), d_(model.spec().d_model) {
  const ModelSpec& spec = model.spec();
  joined_ = d_ * std::max<int64_t>(1, static_cast<int64_t>(spec.channels.size()));
  const int64_t token_width =
      std::max(model.partial_tokenizer().width, model.full_tokenizer().width);
  const int64_t hidden = std::max({spec.tokenizer_hidden, spec.ffn_hidden, WidestHead(spec)});
  tokens_ = Allocate(rows_max * token_width);
  latents_ = Allocate(rows_max * spec.latent_width);
  queries_ = Allocate(rows_max * d_);
  keys_ = Allocate(rows_max * 2 * d_);
  attended_ = Allocate(rows_max * d_);
  hidden_ = Allocate(rows_max * hidden);
  head_ = Allocate(rows_max * WidestHead(spec));
  gated_ = Allocate(rows_max * joined_);
  const auto rows_floats = [&](int64_t width) {
    return static_cast<int64_t>(LinearRowsBytes(model.precision(), rows_max, width) /
                                sizeof(float));
  };
  rows_ = Allocate(rows_floats(std::max({token_width, joined_, spec.latent_width})));
  hidden_rows_ = Allocate(rows_floats(hidden));
}

LinearRows LayerStack::Norm(const NormWeights& norm, int64_t rows, int64_t width, const float* in,
                            int64_t stride) {
  return NormRows(model_.precision(), rows, width, in, stride, norm.scale, norm.shift, rows_.get());
}

void LayerStack::FeedForward(const PackedLinear& hidden, const PackedLinear& out,
                             const LinearRows& rows, int64_t row_count, Epilogue epilogue,
                             float* to, int64_t stride) {
  PackedLinearForward(hidden, rows, row_count, Epilogue::kGelu, hidden_.get(), hidden.n);
  const LinearRows hidden_rows = ConvertRows(model_.precision(), row_count, hidden.n, hidden_.get(),
                                             hidden.n, hidden_rows_.get());
  PackedLinearForward(out, hidden_rows, row_count, epilogue, to, stride);
}

void LayerStack::Tokenize(const PackedTokenizer& tokenizer, int64_t rows, float* out,
                          int64_t stride) {
  const LinearRows normed =
      Norm(tokenizer.norm, rows, tokenizer.width, tokens_.get(), tokenizer.width);
  FeedForward(tokenizer.hidden, tokenizer.out, normed, rows, Epilogue::kStore, out, stride);
  PackedLinearForward(tokenizer.gate, normed, rows, Epilogue::kSigmoidGate, out, stride);
}

void LayerStack::Mix(int64_t layer, int64_t rows, float* state) {
  const LinearRows joined =
      ConvertRows(model_.precision(), rows, joined_, state, joined_, rows_.get());
  std::copy(state, state + rows * joined_, gated_.get());
  PackedLinearForward(model_.mix(layer), joined, rows, Epilogue::kSigmoidGate, gated_.get(),
                      joined_);
  for (int64_t r = 0; r < rows; ++r) {
    const float* gated = gated_.get() + r * joined_;
    float* to = state + r * joined_;
    for (int64_t channel = 0; channel < joined_; channel += d_) {
      for (int64_t other = 0; other < joined_; other += d_) {
        if (other == channel) continue;
        for (int64_t i = 0; i < d_; ++i) to[channel + i] += gated[other + i];
      }
    }
  }
}

LinearRows LayerStack::AttentionInput(const PackedLayer& layer, int64_t rows, const float* state,
                                      int64_t stride) {
  return model_.spec().pre_norm
             ? Norm(layer.attention_norm, rows, d_, state, stride)
             : ConvertRows(model_.precision(), rows, d_, state, stride, rows_.get());
}

void LayerStack::Project(const PackedLayer& layer, int64_t rows, const float* state,
                         int64_t stride) {
  const int64_t width = model_.spec().latent_width;
  LinearRows in = AttentionInput(layer, rows, state, stride);
  if (width > 0) {
    PackedLinearForward(layer.latent, in, rows, Epilogue::kStore, latents_.get(), width);
    in = ConvertRows(model_.precision(), rows, width, latents_.get(), width, rows_.get());
  }
  PackedLinearForward(layer.q, in, rows, Epilogue::kStore, queries_.get(), d_);
  PackedLinearForward(layer.kv, in, rows, Epilogue::kStore, keys_.get(), 2 * d_);
}

void LayerStack::ProjectCached(const PackedLayer& layer, int64_t rows, const float* state,
                               int64_t stride) {
  const int64_t width = model_.spec().latent_width;
  const LinearRows in = AttentionInput(layer, rows, state, stride);
  if (width > 0) {
    PackedLinearForward(layer.latent, in, rows, Epilogue::kStore, latents_.get(), width);
  } else {
    PackedLinearForward(layer.kv, in, rows, Epilogue::kStore, keys_.get(), 2 * d_);
  }
}

void LayerStack::Finish(const PackedLayer& layer, int64_t rows, float* state, int64_t stride) {
  const Precision format = model_.precision();
  const bool pre_norm = model_.spec().pre_norm;
  const LinearRows attended = ConvertRows(format, rows, d_, attended_.get(), d_, rows_.get());
  PackedLinearForward(layer.out, attended, rows, Epilogue::kAdd, state, stride);
  if (!pre_norm) {
    NormInPlace(rows, d_, layer.attention_norm.scale, layer.attention_norm.shift, state, stride);
  }
  const LinearRows in = pre_norm ? Norm(layer.ffn_norm, rows, d_, state, stride)
                                 : ConvertRows(format, rows, d_, state, stride, rows_.get());
  FeedForward(layer.ffn_hidden, layer.ffn_out, in, rows, Epilogue::kAdd, state, stride);
  if (!pre_norm) NormInPlace(rows, d_, layer.ffn_norm.scale, layer.ffn_norm.shift, state, stride);
}

void LayerStack::Head(int64_t rows, float* state, float* logits) {
  const ModelSpec& spec = model_.spec();
  for (size_t c = 0; spec.pre_norm && c < spec.channels.size(); ++c) {
    const NormWeights& norm = model_.channel_norm(c);
    NormInPlace(rows, d_, norm.scale, norm.shift, state + static_cast<int64_t>(c) * d_, joined_);
  }
  const float* in = state;
  float* buffers[] = {hidden_.get(), head_.get()};
  const std::vector<PackedLinear>& head = model_.head();
  for (size_t i = 0; i < head.size(); ++i) {
    const bool last = i + 1 == head.size();
    float* out = last ? logits : buffers[i % 2];
    // The head is f32 in every precision, whose rows are taken as they lie.
    PackedLinearForward(head[i], {in, head[i].k, nullptr, nullptr}, rows,
                        last ? Epilogue::kStore : Epilogue::kGelu, out, head[i].n);
    in = out;
  }
}

}  // namespace grab
