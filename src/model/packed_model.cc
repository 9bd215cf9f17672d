#include "model/packed_model.h"

#include <algorithm>

#include "base/check.h"

namespace grab {
namespace {

Status CheckWidths(const ModelSpec& spec) {
  if (spec.kind == ModelKind::kGrab && spec.head_width() > kHeadWidthMax) {
    return absl::InvalidArgumentError(absl::StrCat("model: heads are ", spec.head_width(),
                                                   " wide, at most ", kHeadWidthMax,
                                                   " can be served"));
  }
  for (const WeightSpec& weight : spec.Weights()) {
    if (weight.shape.size() != 2 || weight.shape[1] <= kLinearWidthMax) continue;
    return absl::InvalidArgumentError(absl::StrCat("model: '", weight.name, "' reads ",
                                                   weight.shape[1], " values, at most ",
                                                   kLinearWidthMax, " can be served"));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Precision> ParsePrecision(const std::string& name) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown precision '", name, "', expected f32, bf16 or int8"));
}

const char* PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  GRAB_CHECK(false);
  return "";
}

StatusOr<std::unique_ptr<PackedModel>> PackedModel::Create(const Model& model,
                                                           Precision precision) {
  GRAB_RETURN_IF_ERROR(CheckWidths(model.spec));
  return std::unique_ptr<PackedModel>(new PackedModel(model, precision));
}

PackedModel::PackedModel(const Model& model, Precision precision)
    : model_(model), precision_(precision) {
  const ModelSpec& spec = model.spec;
  full_ = PackTokenizer("tokenizer.full", spec.tokens.FullWidth());
  if (spec.kind == ModelKind::kGrab) {
    shape_ = {0,
              0,
              spec.heads,
              spec.head_width(),
              spec.position_buckets,
              spec.time_buckets,
              spec.action_classes()};
    partial_ = PackTokenizer("tokenizer.partial", spec.tokens.PartialWidth());
  }
  const int64_t joined = static_cast<int64_t>(spec.channels.size()) * spec.d_model;
  layers_.resize(spec.channels.size());
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      layers_[c].push_back(PackLayer(LayerPrefix(c, layer)));
    }
    if (spec.pre_norm) channel_norm_.push_back(Norm(absl::StrCat("channel.", c, ".norm")));
  }
  for (int64_t layer = 0; spec.mixes() && layer < spec.layers; ++layer) {
    mix_.push_back(Pack(absl::StrCat("mix.", layer), precision_, 0, joined, joined));
  }
  PackHead();
}

const float* PackedModel::Weight(const std::string& name) const {
  const auto found = model_.weights.find(name);
  GRAB_CHECK_MSG(found != model_.weights.end(), name);
  return found->second.data();
}

NormWeights PackedModel::Norm(const std::string& name) const {
  return {Weight(name + ".scale"), Weight(name + ".shift")};
}

PackedLinear PackedModel::Pack(const std::string& name, Precision format, int64_t begin,
                               int64_t end, int64_t k) {
  const size_t size = PackedLinearBytes(format, end - begin, k);
  memory_.push_back(hwy::AllocateAligned<uint8_t>(size));
  GRAB_CHECK_MSG(memory_.back() != nullptr, "out of memory for packed weights");
  bytes_ += size;
  return PackLinear(format, end - begin, k, Weight(name + ".weight") + begin * k,
                    Weight(name + ".bias") + begin, memory_.back().get());
}

PackedTokenizer PackedModel::PackTokenizer(const std::string& name, int64_t width) {
  const ModelSpec& spec = model_.spec;
  PackedTokenizer tokenizer;
  tokenizer.width = width;
  tokenizer.norm = Norm(name + ".norm");
  tokenizer.hidden = Pack(name + ".hidden", precision_, 0, spec.tokenizer_hidden, width);
  tokenizer.out = Pack(name + ".out", precision_, 0, spec.d_model, spec.tokenizer_hidden);
  tokenizer.gate = Pack(name + ".gate", precision_, 0, spec.d_model, width);
  return tokenizer;
}

PackedLayer PackedModel::PackLayer(const std::string& prefix) {
  const int64_t d = model_.spec.d_model;
  const int64_t hidden = model_.spec.ffn_hidden;
  PackedLayer layer;
  layer.attention_norm = Norm(prefix + "attention.norm");
  layer.ffn_norm = Norm(prefix + "ffn.norm");
  const int64_t latent = model_.spec.latent_width;
  if (latent > 0) layer.latent = Pack(prefix + "attention.latent", precision_, 0, latent, d);
  const int64_t width = latent > 0 ? latent : d;
  layer.q = Pack(prefix + "attention.qkv", precision_, 0, d, width);
  layer.kv = Pack(prefix + "attention.qkv", precision_, d, 3 * d, width);
  layer.out = Pack(prefix + "attention.out", precision_, 0, d, d);
  layer.ffn_hidden = Pack(prefix + "ffn.hidden", precision_, 0, hidden, d);
  layer.ffn_out = Pack(prefix + "ffn.out", precision_, 0, d, hidden);
  const auto floats = static_cast<size_t>(RabCodebookFloats(shape_));
  memory_.push_back(hwy::AllocateAligned<uint8_t>(floats * sizeof(float)));
  GRAB_CHECK_MSG(memory_.back() != nullptr, "out of memory for packed codebooks");
  bytes_ += floats * sizeof(float);
  auto* codebooks = reinterpret_cast<float*>(memory_.back().get());
  layer.codebook_action = Weight(prefix + "attention.codebook_action");
  PackRabCodebooks(shape_, Weight(prefix + "attention.codebook_position"),
                   Weight(prefix + "attention.codebook_time"), layer.codebook_action, codebooks);
  layer.codebooks = codebooks;
  return layer;
}

void PackedModel::PackHead() {
  const ModelSpec& spec = model_.spec;
  int64_t in = spec.d_model * std::max<int64_t>(1, static_cast<int64_t>(spec.channels.size()));
  for (size_t i = 0; i <= spec.head_hidden.size(); ++i) {
    const bool last = i == spec.head_hidden.size();
    const int64_t out = last ? static_cast<int64_t>(spec.tasks.size()) : spec.head_hidden[i];
    head_.push_back(Pack(absl::StrCat("head.", i), Precision::kF32, 0, out, in));
    in = out;
  }
}

}  // namespace grab
