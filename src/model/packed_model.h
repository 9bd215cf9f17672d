// The dense weights of a model, packed once for inference in one precision.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "hwy/aligned_allocator.h"
#include "kernels/packed_linear.h"
#include "kernels/rab_simd.h"
#include "model/model.h"

namespace grab {

StatusOr<Precision> ParsePrecision(const std::string& name);  // "f32", "bf16", "int8"
const char* PrecisionName(Precision precision);

// Pointers into the model.
struct NormWeights {
  const float* scale = nullptr;
  const float* shift = nullptr;
};

struct PackedTokenizer {
  int64_t width = 0;  // of a token vector
  NormWeights norm;
  PackedLinear hidden, out, gate;
};

struct PackedLayer {
  NormWeights attention_norm, ffn_norm;
  PackedLinear latent;  // latent_width outputs, which q and kv read; empty if the model has none
  PackedLinear q;       // d_model outputs
  PackedLinear kv;      // 2 * d_model: keys, then values
  PackedLinear out, ffn_hidden, ffn_out;
  const float* codebooks = nullptr;        // PackRabCodebooks
  const float* codebook_action = nullptr;  // [heads, action_classes, head_width]
};

// Immutable: threads may share one.
class PackedModel {
 public:
  // `model` has every weight of its spec, and must outlive the result. A layer wider than
  // kLinearWidthMax, or a head than kHeadWidthMax, is an InvalidArgument.
  static StatusOr<std::unique_ptr<PackedModel>> Create(const Model& model, Precision precision);

  const ModelSpec& spec() const { return model_.spec; }
  const std::vector<EmbeddingTable>& tables() const { return model_.tables; }
  Precision precision() const { return precision_; }
  // Of the attention of any layer; queries and keys are left 0.
  const RabShape& shape() const { return shape_; }

  const PackedTokenizer& partial_tokenizer() const { return partial_; }  // kGrab
  const PackedTokenizer& full_tokenizer() const { return full_; }
  const PackedLayer& layer(size_t channel, int64_t layer) const {
    return layers_[channel][static_cast<size_t>(layer)];
  }
  const PackedLinear& mix(int64_t layer) const { return mix_[static_cast<size_t>(layer)]; }
  const NormWeights& channel_norm(size_t channel) const { return channel_norm_[channel]; }
  const std::vector<PackedLinear>& head() const { return head_; }

  size_t bytes() const { return bytes_; }  // of packed weights

 private:
  PackedModel(const Model& model, Precision precision);
  const float* Weight(const std::string& name) const;
  NormWeights Norm(const std::string& name) const;
  // Rows [begin, end) of the linear layer `name`.
  PackedLinear Pack(const std::string& name, Precision format, int64_t begin, int64_t end,
                    int64_t k);
  PackedTokenizer PackTokenizer(const std::string& name, int64_t width);
  PackedLayer PackLayer(const std::string& prefix);
  void PackHead();

  const Model& model_;
  Precision precision_;
  RabShape shape_;
  PackedTokenizer partial_, full_;
  std::vector<std::vector<PackedLayer>> layers_;  // [channel][layer]
  std::vector<PackedLinear> mix_;                 // [layer], if the model mixes
  std::vector<NormWeights> channel_norm_;         // [channel], pre-norm
  std::vector<PackedLinear> head_;
  std::vector<hwy::AlignedFreeUniquePtr<uint8_t[]>> memory_;
  size_t bytes_ = 0;
};

}  // namespace grab
