#include "train/ops.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/embedding_pool.h"
#include "kernels/rab_simd.h"

namespace grab {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A non-tensor argument of an autograd function, kept for its backward pass.
template <class T>
struct Held : torch::CustomClassHolder {
  explicit Held(T held) : value(std::move(held)) {}
  T value;
};

template <class T>
c10::IValue Hold(T value) {
  return c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(value)));
}

template <class T>
const T& HeldIn(const c10::IValue& holder) {
  return static_cast<const Held<T>*>(holder.toCapsule().get())->value;
}

template <class Body>
void Dispatch(torch::ScalarType type, const Body& body) {
  if (type == torch::kFloat32) return body(float{});
  GRAB_CHECK(type == torch::kFloat64);
  body(double{});
}

// What PoolTokens reads besides tensors.
struct PoolArguments {
  const TokenSpec* spec;
  const TokenColumns* view;
  const std::vector<std::vector<uint32_t>>* index;
  std::vector<int64_t> table_begin;  // where each table starts in the flat tensor of all rows

  const TokenSlot& slot(size_t column) const {
    return spec->slots[static_cast<size_t>(view->slots[column])];
  }
  PoolPairs pairs(size_t column) const {
    const SlotColumn& values = view->columns[column];
    return {view->rows, values.offsets.data(), (*index)[column].data(), values.weights.data()};
  }
  // First column of each slot in the token vector; the total width last.
  std::vector<int64_t> Offsets() const {
    std::vector<int64_t> offsets = {0};
    for (size_t c = 0; c < view->columns.size(); ++c) {
      offsets.push_back(offsets.back() + slot(c).width);
    }
    return offsets;
  }
};

template <class T>
void PoolForward(const PoolArguments& arguments, const T* rows, T* to) {
  const std::vector<int64_t> offsets = arguments.Offsets();
  const int64_t stride = offsets.back();
  for (size_t c = 0; c + 1 < offsets.size(); ++c) {
    const TokenSlot& slot = arguments.slot(c);
    if (slot.table >= 0) {
      EmbeddingPoolForward<T>(arguments.pairs(c),
                              rows + arguments.table_begin[static_cast<size_t>(slot.table)],
                              slot.width, to + offsets[c], stride);
      continue;
    }
    const float* from = arguments.view->columns[c].dense.data();
    for (int64_t r = 0; r < arguments.view->rows; ++r) {
      std::copy(from + r * slot.width, from + (r + 1) * slot.width, to + r * stride + offsets[c]);
    }
  }
}

template <class T>
void PoolBackward(const PoolArguments& arguments, const T* from, T* d_rows) {
  const std::vector<int64_t> offsets = arguments.Offsets();
  for (size_t c = 0; c + 1 < offsets.size(); ++c) {
    const TokenSlot& slot = arguments.slot(c);
    if (slot.table < 0) continue;
    EmbeddingPoolBackward<T>(arguments.pairs(c), from + offsets[c], offsets.back(), slot.width,
                             d_rows + arguments.table_begin[static_cast<size_t>(slot.table)]);
  }
}

// `flat`: the rows of all tables one after another. An autograd function follows tensors only as
// plain arguments, not inside a vector.
struct PoolFunction : torch::autograd::Function<PoolFunction> {
  static torch::Tensor forward(AutogradContext* context, PoolArguments arguments,
                               torch::Tensor flat) {
    torch::Tensor out =
        torch::empty({arguments.view->rows, arguments.Offsets().back()}, flat.scalar_type());
    Dispatch(flat.scalar_type(), [&](auto t) {
      using T = decltype(t);
      PoolForward<T>(arguments, flat.data_ptr<T>(), out.data_ptr<T>());
    });
    context->saved_data["arguments"] = Hold(std::move(arguments));
    context->saved_data["elements"] = flat.numel();
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const torch::Tensor d_out = d_outs[0].contiguous();
    torch::Tensor d_flat =
        torch::zeros({context->saved_data["elements"].toInt()}, d_out.scalar_type());
    Dispatch(d_out.scalar_type(), [&](auto t) {
      using T = decltype(t);
      PoolBackward<T>(HeldIn<PoolArguments>(context->saved_data["arguments"]), d_out.data_ptr<T>(),
                      d_flat.data_ptr<T>());
    });
    return {torch::Tensor(), d_flat};
  }
};

PoolPairs PairsOf(const RowPairs& pairs) {
  return {static_cast<int64_t>(pairs.offsets.size()) - 1, pairs.offsets.data(), pairs.index.data(),
          pairs.weight.data()};
}

struct PoolRowsFunction : torch::autograd::Function<PoolRowsFunction> {
  static torch::Tensor forward(AutogradContext* context, RowPairs pairs, torch::Tensor table) {
    table = table.contiguous();
    const int64_t width = table.size(1);
    torch::Tensor out = torch::empty({PairsOf(pairs).rows, width}, table.scalar_type());
    Dispatch(table.scalar_type(), [&](auto t) {
      using T = decltype(t);
      EmbeddingPoolForward<T>(PairsOf(pairs), table.data_ptr<T>(), width, out.data_ptr<T>(), width);
    });
    context->saved_data["pairs"] = Hold(std::move(pairs));
    context->saved_data["rows"] = table.size(0);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const torch::Tensor d_out = d_outs[0].contiguous();
    const int64_t width = d_out.size(1);
    torch::Tensor d_table =
        torch::zeros({context->saved_data["rows"].toInt(), width}, d_out.scalar_type());
    Dispatch(d_out.scalar_type(), [&](auto t) {
      using T = decltype(t);
      EmbeddingPoolBackward<T>(PairsOf(HeldIn<RowPairs>(context->saved_data["pairs"])),
                               d_out.data_ptr<T>(), width, width, d_table.data_ptr<T>());
    });
    return {torch::Tensor(), d_table};
  }
};

using RowsPointer = std::shared_ptr<const ChannelRows>;

template <class T>
RabInputs<T> Inputs(const torch::Tensor& q, const torch::Tensor& kv, const torch::Tensor& position,
                    const torch::Tensor& time, const torch::Tensor& action) {
  const int64_t d = q.size(1);
  return {q.data_ptr<T>(), kv.data_ptr<T>(),       kv.data_ptr<T>() + d, d,
          2 * d,           position.data_ptr<T>(), time.data_ptr<T>(),   action.data_ptr<T>()};
}

struct SavedAttention {
  const torch::Tensor &q, &kv, &position, &time, &action, &out, &log_sum;
};

void AttentionForward(const ChannelRows& rows, const SavedAttention& a, double) {
  const RabShape shape = rows.Shape(a.q.size(0));
  at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
    RabAttentionForward<double>(shape, rows.Visibility(shape.queries),
                                Inputs<double>(a.q, a.kv, a.position, a.time, a.action), begin, end,
                                a.out.data_ptr<double>(), a.log_sum.data_ptr<double>());
  });
}

// The problem of the SIMD kernels, and the codebooks it points to.
struct PackedProblem {
  PackedProblem(const ChannelRows& rows, const SavedAttention& a)
      : codebooks(torch::empty({RabCodebookFloats(rows.Shape(a.q.size(0)))}, torch::kFloat32)),
        problem(rows.Problem(a.q.size(0), Inputs<float>(a.q, a.kv, a.position, a.time, a.action),
                             codebooks.data_ptr<float>())) {
    PackRabCodebooks(problem.shape, problem.inputs.codebook_position, problem.inputs.codebook_time,
                     problem.inputs.codebook_action, codebooks.data_ptr<float>());
  }
  torch::Tensor codebooks;
  RabProblem problem;
};

void AttentionForward(const ChannelRows& rows, const SavedAttention& a, float) {
  const PackedProblem packed(rows, a);
  const RabShape& shape = packed.problem.shape;
  at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
    const AlignedBuffer scratch(RabForwardScratchBytes(shape, rows.segment_keys_max()));
    RabForward(packed.problem, 0, packed.problem.segment_count, begin, end, a.out.data_ptr<float>(),
               a.log_sum.data_ptr<float>(), scratch.data());
  });
}

template <class T>
RabGradients<T> GradientsIn(variable_list& d) {
  T* d_kv = d[1].data_ptr<T>();
  return {d[0].data_ptr<T>(), d_kv, d_kv + d[0].size(1), d[2].data_ptr<T>(), d[3].data_ptr<T>(),
          d[4].data_ptr<T>()};
}

void AttentionBackward(const ChannelRows& rows, const SavedAttention& a, const torch::Tensor& d_out,
                       variable_list& d, double) {
  const RabShape shape = rows.Shape(a.q.size(0));
  at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
    RabAttentionBackward<double>(shape, rows.Visibility(shape.queries),
                                 Inputs<double>(a.q, a.kv, a.position, a.time, a.action), begin,
                                 end, a.out.data_ptr<double>(), a.log_sum.data_ptr<double>(),
                                 d_out.data_ptr<double>(), GradientsIn<double>(d));
  });
}

void AttentionBackward(const ChannelRows& rows, const SavedAttention& a, const torch::Tensor& d_out,
                       variable_list& d, float) {
  const PackedProblem packed(rows, a);
  const RabShape& shape = packed.problem.shape;
  at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
    const AlignedBuffer scratch(RabBackwardScratchBytes(shape, rows.segment_keys_max()));
    RabBackward(packed.problem, 0, packed.problem.segment_count, begin, end,
                a.out.data_ptr<float>(), a.log_sum.data_ptr<float>(), d_out.data_ptr<float>(),
                GradientsIn<float>(d), scratch.data());
  });
}

// f32 runs the SIMD kernels, f64 (gradient checks) their reference.
struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static torch::Tensor forward(AutogradContext* context, RowsPointer rows, torch::Tensor q,
                               torch::Tensor kv, torch::Tensor position, torch::Tensor time,
                               torch::Tensor action) {
    q = q.contiguous();
    kv = kv.contiguous();
    torch::Tensor out = torch::empty_like(q);
    torch::Tensor log_sum = torch::empty({q.size(0), rows->Shape(q.size(0)).heads}, q.options());
    const SavedAttention saved = {q, kv, position, time, action, out, log_sum};
    Dispatch(q.scalar_type(), [&](auto t) { AttentionForward(*rows, saved, t); });
    context->saved_data["rows"] = Hold(rows);
    context->save_for_backward({q, kv, position, time, action, out, log_sum});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const RowsPointer rows = HeldIn<RowsPointer>(context->saved_data["rows"]);
    const variable_list s = context->get_saved_variables();
    const torch::Tensor d_out = d_outs[0].contiguous();
    variable_list gradients;
    for (size_t i = 0; i < 5; ++i) gradients.push_back(torch::zeros_like(s[i]));
    const SavedAttention saved = {s[0], s[1], s[2], s[3], s[4], s[5], s[6]};
    Dispatch(d_out.scalar_type(),
             [&](auto t) { AttentionBackward(*rows, saved, d_out, gradients, t); });
    gradients.insert(gradients.begin(), torch::Tensor());
    return gradients;
  }
};

}  // namespace

torch::Tensor PoolTokens(const TokenSpec& spec, const TokenColumns& view,
                         const std::vector<std::vector<uint32_t>>& index,
                         const std::vector<torch::Tensor>& rows) {
  PoolArguments arguments{&spec, &view, &index, {}};
  std::vector<torch::Tensor> parts;
  int64_t elements = 0;
  for (const torch::Tensor& table : rows) {
    arguments.table_begin.push_back(elements);
    elements += table.numel();
    parts.push_back(table.reshape({-1}));
  }
  return PoolFunction::apply(std::move(arguments), torch::cat(parts));
}

torch::Tensor PoolRows(RowPairs pairs, const torch::Tensor& table) {
  return PoolRowsFunction::apply(std::move(pairs), table);
}

torch::Tensor RowsOfChannel(const ChannelBatch& channel, const torch::Tensor& x) {
  const std::vector<int64_t> rows(channel.token.begin(), channel.token.end());
  return x.index_select(0, torch::tensor(rows, torch::kInt64));
}

torch::Tensor RabAttention(const std::shared_ptr<const ChannelRows>& rows, const torch::Tensor& q,
                           const torch::Tensor& kv, const torch::Tensor& codebook_position,
                           const torch::Tensor& codebook_time,
                           const torch::Tensor& codebook_action) {
  return AttentionFunction::apply(rows, q, kv, codebook_position, codebook_time, codebook_action);
}

}  // namespace grab
