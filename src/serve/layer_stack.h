// The dense parts of a model over a few rows at a time, in scratch sized once: tokeniser, mix, the
// products around attention, feed-forward and head. Rows are independent: a row's result does not
// depend on what is computed beside it.
//
// State of rows: [rows, stride], d_model columns per channel side by side. Everything runs on the
// calling thread and allocates nothing.
#pragma once

#include <cstdint>

#include "hwy/aligned_allocator.h"
#include "model/packed_model.h"

namespace grab {

// Aligned floats, or bytes as floats.
using Floats = hwy::AlignedFreeUniquePtr<float[]>;

class LayerStack {
 public:
  // `model` must outlive it; no call may have more than `rows_max` rows.
  LayerStack(const PackedModel& model, int64_t rows_max);

  // Where the caller puts token vectors v: [rows, width of the view].
  float* tokens() { return tokens_.get(); }
  // out [rows, stride] = GateMLP(v).
  void Tokenize(const PackedTokenizer& tokenizer, int64_t rows, float* out, int64_t stride);

  // Adds the other channels' gated vectors to each channel's; state [rows, channels * d_model].
  void Mix(int64_t layer, int64_t rows, float* state);

  // A layer of one channel, state [rows, stride] at its first column. First the latents, if the
  // model has them, the keys and values, and the queries;
  void Project(const PackedLayer& layer, int64_t rows, const float* state, int64_t stride);
  // or only what a cache holds of the rows: the latents, or the keys and values without them:
  void ProjectCached(const PackedLayer& layer, int64_t rows, const float* state, int64_t stride);
  const float* latents() const { return latents_.get(); }   // [rows, latent_width]
  const float* queries() const { return queries_.get(); }   // [rows, d_model]
  const float* keys() const { return keys_.get(); }         // [rows, 2 * d_model]
  const float* values() const { return keys_.get() + d_; }  // in the same rows
  float* attended() { return attended_.get(); }             // [rows, d_model]: the caller's
  // then, from what the caller attended, the layer's output.
  void Finish(const PackedLayer& layer, int64_t rows, float* state, int64_t stride);

  // logits [rows, tasks] from the state of all channels after the last layer, which it overwrites.
  void Head(int64_t rows, float* state, float* logits);

 private:
  // What a layer's attention projects: the rows in front of it, normed if that comes first.
  LinearRows AttentionInput(const PackedLayer& layer, int64_t rows, const float* state,
                            int64_t stride);
  LinearRows Norm(const NormWeights& norm, int64_t rows, int64_t width, const float* in,
                  int64_t stride);
  void FeedForward(const PackedLinear& hidden, const PackedLinear& out, const LinearRows& rows,
                   int64_t row_count, Epilogue epilogue, float* to, int64_t stride);

  const PackedModel& model_;
  int64_t d_;
  int64_t joined_;  // columns of a whole state
  Floats tokens_, latents_, queries_, keys_, attended_, hidden_, head_, gated_;
  Floats rows_, hidden_rows_;  // left sides of products
};

}  // namespace grab
