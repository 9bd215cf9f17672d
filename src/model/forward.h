// The libtorch-free forward: the same batches, kernels and weight names as train/net, with oneDNN
// for matrix products.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/channel_rows.h"
#include "model/model.h"

namespace grab {

// The attention of a batch's full rows in one layer of one channel, as the forward computes it.
struct FullAttention {
  size_t channel = 0;
  int64_t layer = 0;
  RabShape shape;            // its queries are the full rows of the batch
  RabVisibility visibility;  // key rows of one channel: batch/batch.h
  RabInputs<float> inputs;
  const float* out = nullptr;  // [full rows, d_model], before the output projection
};
// What it is given lives until it returns.
using AttentionObserver = std::function<void(const FullAttention&)>;

// Thread-compatible: one Forward per thread; they may share a Model.
class Forward {
 public:
  // `model` must outlive it and have every weight of its spec. Attention heads are spread over
  // `threads` threads.
  Forward(const Model& model, int threads);

  // Called in every layer of every channel from now on; empty: nothing is.
  void set_observer(AttentionObserver observer) { observer_ = std::move(observer); }

  // Logits [batch.full.rows, tasks].
  StatusOr<std::vector<float>> Logits(const Batch& batch);

 private:
  using Matrix = std::vector<float>;  // row-major; the width goes with it in the code

  const float* W(const std::string& name) const;
  Status LinearTo(const std::string& name, int64_t rows, int64_t in, int64_t out, const Matrix& x,
                  Matrix& y) const;
  void NormTo(const std::string& name, int64_t rows, int64_t width, const Matrix& x,
              Matrix& y) const;
  Matrix Pool(const TokenColumns& view, const std::vector<std::vector<uint32_t>>& index,
              const std::vector<Matrix>& rows) const;
  StatusOr<Matrix> GateMlp(const std::string& name, int64_t rows, int64_t width,
                           const Matrix& v) const;
  StatusOr<Matrix> Head(int64_t rows, Matrix z) const;
  StatusOr<std::vector<Matrix>> Channels(const Batch& batch, const Matrix& partial,
                                         const Matrix& full) const;
  Status Mix(int64_t layer, int64_t rows, std::vector<Matrix>& full) const;
  StatusOr<Matrix> Layer(size_t channel, int64_t layer, const ChannelRows& rows, const Matrix& x,
                         int64_t queries) const;
  StatusOr<Matrix> Attention(size_t channel, int64_t layer, const ChannelRows& rows,
                             const Matrix& tokens, int64_t queries) const;
  void Observe(size_t channel, int64_t layer, const ChannelRows& rows, RabInputs<float> inputs,
               const Matrix& out, int64_t queries) const;
  StatusOr<Matrix> Ffn(const std::string& prefix, int64_t rows, const Matrix& x) const;

  const Model& model_;
  const ModelSpec& spec_;
  int threads_;
  Lookup lookup_;
  AttentionObserver observer_;
};

}  // namespace grab
