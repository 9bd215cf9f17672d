#include "train/dense.h"

#include <torch/autograd.h>
#include <torch/nn/functional/linear.h>

#include "kernels/feed_forward.h"
#include "kernels/gate_mlp.h"
#include "kernels/layer_norm.h"
#include "kernels/matmul.h"
#include "kernels/norm_linear.h"
#include "kernels/target_mix.h"

namespace grab {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace F = torch::nn::functional;

// Autograd functions take no undefined tensors: an argument that is not there is an empty one.
Tensor OrEmpty(const Tensor& tensor) {
  return tensor.defined() ? tensor : torch::empty({0}, torch::kFloat32);
}

float* Data(const Tensor& tensor) {
  return tensor.defined() && tensor.numel() > 0 ? tensor.data_ptr<float>() : nullptr;
}

// Where a weight's gradient is added up; undefined for an argument that is not there.
Tensor Zeros(const Tensor& like) { return like.numel() > 0 ? torch::zeros_like(like) : Tensor(); }

Tensor Floats(int64_t n) { return torch::empty({n}, torch::kFloat32); }

Precision SavedPrecision(AutogradContext* context) {
  return static_cast<Precision>(context->saved_data["precision"].toInt());
}

void SavePrecision(AutogradContext* context, Precision precision) {
  context->saved_data["precision"] = static_cast<int64_t>(precision);
}

struct NormFunction : torch::autograd::Function<NormFunction> {
  static Tensor forward(AutogradContext* context, Tensor x, Tensor scale, Tensor shift) {
    x = x.contiguous();
    Tensor out = torch::empty_like(x);
    Tensor stats = Floats(2 * x.size(0));
    LayerNormForward(x.size(0), x.size(1), Data(x), Data(scale), Data(shift), Data(out),
                     Data(stats));
    context->save_for_backward({x, scale, stats});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor d_out = d_outs[0].contiguous();
    Tensor d_x = torch::empty_like(saved[0]);
    Tensor d_scale = Zeros(saved[1]), d_shift = Zeros(saved[1]);
    LayerNormBackward(d_x.size(0), d_x.size(1), Data(saved[0]), Data(saved[1]), Data(saved[2]),
                      Data(d_out), nullptr, Data(d_x), Data(d_scale), Data(d_shift));
    return {d_x, d_scale, d_shift};
  }
};

// One linear layer as several projections: outputs [from, from + width) of the rows from first_row
// on, `from` running on from projection to projection.
struct Outputs {
  std::vector<int64_t> first_row, width;

  std::vector<Projection> Projections(const Tensor& weight, const Tensor& bias,
                                      const Tensor& residual) const {
    std::vector<Projection> projections;
    int64_t from = 0;
    for (size_t i = 0; i < width.size(); ++i) {
      projections.push_back({first_row[i], width[i], Data(weight) + from * weight.size(1),
                             Data(bias) + from, Data(residual)});
      from += width[i];
    }
    return projections;
  }
};

struct NormLinearFunction : torch::autograd::Function<NormLinearFunction> {
  static variable_list forward(AutogradContext* context, Tensor x, Tensor scale, Tensor shift,
                               Tensor weight, Tensor bias, Tensor residual, Outputs outputs,
                               Precision precision) {
    x = x.contiguous();
    residual = residual.contiguous();
    const NormLinearShape shape = {x.size(0), x.size(1), precision};
    const std::vector<Projection> projections = outputs.Projections(weight, bias, residual);
    variable_list out;
    std::vector<float*> to;
    for (size_t i = 0; i < outputs.width.size(); ++i) {
      out.push_back(
          torch::empty({shape.rows - outputs.first_row[i], outputs.width[i]}, x.options()));
      to.push_back(Data(out.back()));
    }
    const Tensor scratch = Floats(NormLinearScratch(shape, projections));
    NormLinearForward(shape, Data(x), {Data(scale), Data(shift)}, projections, to, Data(scratch));
    context->save_for_backward({x, scale, shift, weight, bias});
    context->saved_data["first_row"] = outputs.first_row;
    context->saved_data["width"] = outputs.width;
    context->saved_data["residual"] = residual.dim() == 2;
    SavePrecision(context, precision);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &scale = saved[1], &shift = saved[2], &weight = saved[3],
                 &bias = saved[4];
    const Outputs outputs = {context->saved_data["first_row"].toIntVector(),
                             context->saved_data["width"].toIntVector()};
    const NormLinearShape shape = {x.size(0), x.size(1), SavedPrecision(context)};
    const std::vector<Projection> projections = outputs.Projections(weight, bias, Tensor());
    Tensor d_x = torch::empty_like(x), d_scale = Zeros(scale), d_shift = Zeros(shift);
    Tensor d_weight = Zeros(weight), d_bias = Zeros(bias);
    std::vector<ProjectionGradient> gradients;
    int64_t from = 0;
    for (size_t i = 0; i < d_outs.size(); ++i) {
      d_outs[i] = d_outs[i].contiguous();
      gradients.push_back(
          {Data(d_outs[i]), Data(d_weight) + from * weight.size(1), Data(d_bias) + from});
      from += outputs.width[i];
    }
    const Tensor scratch = Floats(NormLinearScratch(shape, projections));
    NormLinearBackward(shape, Data(x), {Data(scale), Data(shift)}, projections, gradients,
                       Data(d_x), Data(d_scale), Data(d_shift), Data(scratch));
    const Tensor d_residual = context->saved_data["residual"].toBool() ? d_outs[0] : Tensor();
    return {d_x, d_scale, d_shift, d_weight, d_bias, d_residual, Tensor(), Tensor()};
  }
};

struct FeedForwardFunction : torch::autograd::Function<FeedForwardFunction> {
  static FeedForwardShape Shape(const Tensor& x, const Tensor& hidden_weight, Precision precision) {
    return {x.size(0), x.size(1), hidden_weight.size(0), precision};
  }
  static FeedForwardWeights Weights(const variable_list& t) {
    return {{Data(t[1]), Data(t[2])}, Data(t[3]), Data(t[4]), Data(t[5]), Data(t[6])};
  }

  static Tensor forward(AutogradContext* context, Tensor x, Tensor scale, Tensor shift,
                        Tensor hidden_weight, Tensor hidden_bias, Tensor out_weight,
                        Tensor out_bias, Precision precision) {
    x = x.contiguous();
    const FeedForwardShape shape = Shape(x, hidden_weight, precision);
    variable_list saved = {x, scale, shift, hidden_weight, hidden_bias, out_weight, out_bias};
    Tensor pre = torch::empty({shape.rows, shape.hidden}, x.options());
    Tensor out = torch::empty_like(x);
    const Tensor scratch = Floats(FeedForwardScratch(shape));
    FeedForwardForward(shape, Weights(saved), Data(x), Data(pre), Data(out), Data(scratch));
    saved.push_back(pre);
    context->save_for_backward(saved);
    SavePrecision(context, precision);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const FeedForwardShape shape = Shape(saved[0], saved[3], SavedPrecision(context));
    const Tensor d_out = d_outs[0].contiguous();
    variable_list d = {torch::empty_like(saved[0])};
    for (size_t i = 1; i <= 6; ++i) d.push_back(Zeros(saved[i]));
    const Tensor scratch = Floats(FeedForwardScratch(shape));
    FeedForwardBackward(
        shape, Weights(saved), Data(saved[0]), Data(saved[7]), Data(d_out), Data(d[0]),
        {Data(d[1]), Data(d[2]), Data(d[3]), Data(d[4]), Data(d[5]), Data(d[6])}, Data(scratch));
    d.emplace_back();
    return d;
  }
};

struct GateMlpFunction : torch::autograd::Function<GateMlpFunction> {
  static GateMlpShape Shape(const variable_list& t, Precision precision) {
    return {t[0].size(0), t[0].size(1), t[3].size(0), t[5].size(0), precision};
  }
  static GateMlpWeights Weights(const variable_list& t) {
    return {{Data(t[1]), Data(t[2])},
            Data(t[3]),
            Data(t[4]),
            Data(t[5]),
            Data(t[6]),
            Data(t[7]),
            Data(t[8])};
  }

  static Tensor forward(AutogradContext* context, Tensor v, Tensor scale, Tensor shift,
                        Tensor hidden_weight, Tensor hidden_bias, Tensor out_weight,
                        Tensor out_bias, Tensor gate_weight, Tensor gate_bias,
                        Precision precision) {
    v = v.contiguous();
    variable_list saved = {v,          scale,    shift,       hidden_weight, hidden_bias,
                           out_weight, out_bias, gate_weight, gate_bias};
    const GateMlpShape shape = Shape(saved, precision);
    const auto matrix = [&](int64_t width) {
      return torch::empty({shape.rows, width}, v.options());
    };
    const Tensor pre = matrix(shape.hidden);
    const Tensor gate = matrix(shape.out_width), value = matrix(shape.out_width);
    const Tensor out = matrix(shape.out_width);
    const Tensor scratch = Floats(GateMlpScratch(shape));
    GateMlpForward(shape, Weights(saved), Data(v), {Data(pre), Data(gate), Data(value)}, Data(out),
                   Data(scratch));
    saved.insert(saved.end(), {pre, gate, value});
    context->save_for_backward(saved);
    SavePrecision(context, precision);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const GateMlpShape shape = Shape(saved, SavedPrecision(context));
    const Tensor d_out = d_outs[0].contiguous();
    variable_list d = {torch::empty_like(saved[0])};
    for (size_t i = 1; i <= 8; ++i) d.push_back(Zeros(saved[i]));
    const Tensor scratch = Floats(GateMlpScratch(shape));
    GateMlpBackward(shape, Weights(saved), Data(saved[0]),
                    {Data(saved[9]), Data(saved[10]), Data(saved[11])}, Data(d_out), Data(d[0]),
                    {Data(d[1]), Data(d[2]), Data(d[3]), Data(d[4]), Data(d[5]), Data(d[6]),
                     Data(d[7]), Data(d[8])},
                    Data(scratch));
    d.emplace_back();
    return d;
  }
};

struct MixFunction : torch::autograd::Function<MixFunction> {
  static Tensor forward(AutogradContext* context, Tensor x, Tensor gate, int64_t channels) {
    x = x.contiguous();
    gate = gate.contiguous();
    Tensor out = torch::empty_like(x);
    TargetMixForward({x.size(0), channels, x.size(1) / channels}, Data(gate), Data(x), Data(out));
    context->save_for_backward({x, gate});
    context->saved_data["channels"] = channels;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const int64_t channels = context->saved_data["channels"].toInt();
    const Tensor d_out = d_outs[0].contiguous();
    Tensor d_x = torch::empty_like(d_out), d_gate = torch::empty_like(d_out);
    TargetMixBackward({d_x.size(0), channels, d_x.size(1) / channels}, Data(saved[1]),
                      Data(saved[0]), Data(d_out), Data(d_gate), Data(d_x));
    return {d_x, d_gate, Tensor()};
  }
};

// The columns of a head and of those after it; x may be a part of a wider matrix.
Operand ColumnsFrom(const Tensor& x, int64_t first) {
  return {Precision::kF32, x.data_ptr<float>() + first, x.stride(0), false};
}

Tensor Rowwise(const Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

// q k^T of each head [heads, queries, keys].
Tensor MultiplyHeads(const Tensor& q, const Tensor& k, int64_t heads) {
  const int64_t queries = q.size(0), keys = k.size(0), width = q.size(1) / heads;
  if (q.numel() == 0 || k.numel() == 0) return torch::zeros({heads, queries, keys}, q.options());
  Tensor out = torch::empty({heads, queries, keys}, q.options());
  for (int64_t h = 0; h < heads; ++h) {
    Multiply(queries, keys, width, ColumnsFrom(q, h * width), ColumnsFrom(k, h * width).T(), false,
             out.data_ptr<float>() + h * queries * keys, keys);
  }
  return out;
}

// weight x of each head [queries, d], or weight^T x [keys, d].
Tensor SumHeads(const Tensor& weight, const Tensor& x, bool transposed) {
  const int64_t heads = weight.size(0), stride = weight.size(2), width = x.size(1) / heads;
  const int64_t rows = transposed ? stride : weight.size(1);
  Tensor out = torch::zeros({rows, x.size(1)}, x.options());
  if (weight.numel() == 0) return out;
  for (int64_t h = 0; h < heads; ++h) {
    const Operand of_head = {Precision::kF32, weight.data_ptr<float>() + h * weight.stride(0),
                             stride, transposed};
    Multiply(rows, width, x.size(0), of_head, ColumnsFrom(x, h * width), true,
             out.data_ptr<float>() + h * width, x.size(1));
  }
  return out;
}

struct HeadProductsFunction : torch::autograd::Function<HeadProductsFunction> {
  static Tensor forward(AutogradContext* context, Tensor q, Tensor k, int64_t heads) {
    q = Rowwise(q);
    k = Rowwise(k);
    context->save_for_backward({q, k});
    return MultiplyHeads(q, k, heads);
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor d_out = d_outs[0].contiguous();
    return {SumHeads(d_out, saved[1], false), SumHeads(d_out, saved[0], true), Tensor()};
  }
};

struct HeadSumsFunction : torch::autograd::Function<HeadSumsFunction> {
  static Tensor forward(AutogradContext* context, Tensor weight, Tensor v) {
    weight = weight.contiguous();
    v = Rowwise(v);
    context->save_for_backward({weight, v});
    return SumHeads(weight, v, false);
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor d_out = Rowwise(d_outs[0]);
    return {MultiplyHeads(d_out, saved[1], saved[0].size(0)), SumHeads(saved[0], d_out, true)};
  }
};

bool Reference(const Tensor& x) { return x.scalar_type() == torch::kFloat64; }

Tensor ReferenceNorm(const Tensor& x, const LayerNormWeights& norm) {
  if (!norm.scale.defined()) return x;
  return torch::layer_norm(x, {x.size(1)}, norm.scale, norm.shift, 1e-5);
}

Tensor ReferenceLinear(const Tensor& x, const LinearWeights& linear) {
  return F::linear(x, linear.weight, linear.bias);
}

}  // namespace

Tensor LayerNormed(const Tensor& x, const LayerNormWeights& norm) {
  if (Reference(x)) return ReferenceNorm(x, norm);
  return NormFunction::apply(x, norm.scale, norm.shift);
}

Tensor NormedLinear(const Tensor& x, const LayerNormWeights& norm, const LinearWeights& linear,
                    const Tensor& residual, Precision precision) {
  if (Reference(x)) {
    const Tensor out = ReferenceLinear(ReferenceNorm(x, norm), linear);
    return residual.defined() ? residual + out : out;
  }
  return NormLinearFunction::apply(x, OrEmpty(norm.scale), OrEmpty(norm.shift), linear.weight,
                                   linear.bias, OrEmpty(residual),
                                   Outputs{{0}, {linear.weight.size(0)}}, precision)[0];
}

std::pair<Tensor, Tensor> QueriesKeysValues(const Tensor& x, const LayerNormWeights& norm,
                                            const LinearWeights& linear, int64_t queries,
                                            Precision precision) {
  const int64_t d = linear.weight.size(0) / 3;
  if (Reference(x)) {
    const Tensor all = ReferenceLinear(ReferenceNorm(x, norm), linear);
    return {all.narrow(0, x.size(0) - queries, queries).narrow(1, 0, d), all.narrow(1, d, 2 * d)};
  }
  const variable_list out = NormLinearFunction::apply(
      x, OrEmpty(norm.scale), OrEmpty(norm.shift), linear.weight, linear.bias, OrEmpty({}),
      Outputs{{x.size(0) - queries, 0}, {d, 2 * d}}, precision);
  return {out[0], out[1]};
}

Tensor FeedForward(const Tensor& x, const LayerNormWeights& norm, const LinearWeights& hidden,
                   const LinearWeights& out, Precision precision) {
  if (Reference(x)) {
    const Tensor pre = ReferenceLinear(ReferenceNorm(x, norm), hidden);
    return x + ReferenceLinear(torch::gelu(pre), out);
  }
  return FeedForwardFunction::apply(x, OrEmpty(norm.scale), OrEmpty(norm.shift), hidden.weight,
                                    hidden.bias, out.weight, out.bias, precision);
}

Tensor GateMlp(const Tensor& v, const LayerNormWeights& norm, const LinearWeights& hidden,
               const LinearWeights& out, const LinearWeights& gate, Precision precision) {
  if (Reference(v)) {
    const Tensor x = ReferenceNorm(v, norm);
    return ReferenceLinear(torch::gelu(ReferenceLinear(x, hidden)), out) *
           torch::sigmoid(ReferenceLinear(x, gate));
  }
  return GateMlpFunction::apply(v, norm.scale, norm.shift, hidden.weight, hidden.bias, out.weight,
                                out.bias, gate.weight, gate.bias, precision);
}

Tensor MixTargets(const Tensor& x, const LinearWeights& gate, int64_t channels,
                  Precision precision) {
  const Tensor logits = NormedLinear(x, {}, gate, Tensor(), precision);
  if (!Reference(x)) return MixFunction::apply(x, logits, channels);
  // Of the sum over all channels, each leaves its own part out.
  const Tensor gated = (torch::sigmoid(logits) * x).reshape({x.size(0), channels, -1});
  const Tensor others = gated.sum(1, true) - gated;
  return x + others.reshape(x.sizes());
}

Tensor HeadProducts(const Tensor& q, const Tensor& k, int64_t heads) {
  if (!Reference(q)) return HeadProductsFunction::apply(q, k, heads);
  const int64_t width = q.size(1) / heads;
  return torch::matmul(q.reshape({-1, heads, width}).transpose(0, 1),
                       k.reshape({-1, heads, width}).permute({1, 2, 0}));
}

Tensor HeadSums(const Tensor& weight, const Tensor& v) {
  if (!Reference(v)) return HeadSumsFunction::apply(weight, v);
  const int64_t heads = weight.size(0);
  const Tensor parts = v.reshape({-1, heads, v.size(1) / heads}).transpose(0, 1);
  return torch::matmul(weight, parts).transpose(0, 1).reshape({-1, v.size(1)});
}

}  // namespace grab
