#include "train/ops.h"

#include <ATen/Parallel.h>

#include "base/check.h"
#include "kernels/embedding_pool.h"
#include "kernels/rab_attention.h"

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

using RowsPointer = std::shared_ptr<const ChannelRows>;

template <class T>
RabInputs<T> Inputs(const torch::Tensor& q, const torch::Tensor& kv, const torch::Tensor& position,
                    const torch::Tensor& time, const torch::Tensor& action) {
  const int64_t d = q.size(1);
  return {q.data_ptr<T>(), kv.data_ptr<T>(),       kv.data_ptr<T>() + d, d,
          2 * d,           position.data_ptr<T>(), time.data_ptr<T>(),   action.data_ptr<T>()};
}

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static torch::Tensor forward(AutogradContext* context, RowsPointer rows, torch::Tensor q,
                               torch::Tensor kv, torch::Tensor position, torch::Tensor time,
                               torch::Tensor action) {
    q = q.contiguous();
    kv = kv.contiguous();
    const RabShape shape = rows->Shape(q.size(0));
    torch::Tensor out = torch::empty_like(q);
    torch::Tensor log_sum = torch::empty({shape.queries, shape.heads}, q.options());
    Dispatch(q.scalar_type(), [&](auto t) {
      using T = decltype(t);
      at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
        RabAttentionForward<T>(shape, rows->Visibility(shape.queries),
                               Inputs<T>(q, kv, position, time, action), begin, end,
                               out.data_ptr<T>(), log_sum.data_ptr<T>());
      });
    });
    context->saved_data["rows"] = Hold(rows);
    context->save_for_backward({q, kv, position, time, action, out, log_sum});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list d_outs) {
    const RowsPointer rows = HeldIn<RowsPointer>(context->saved_data["rows"]);
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor d_out = d_outs[0].contiguous();
    variable_list gradients = {torch::Tensor()};
    for (size_t i = 0; i < 5; ++i) gradients.push_back(torch::zeros_like(saved[i]));
    const RabShape shape = rows->Shape(saved[0].size(0));
    Dispatch(d_out.scalar_type(), [&](auto t) {
      using T = decltype(t);
      T* d_kv = gradients[2].data_ptr<T>();
      const RabGradients<T> to = {gradients[1].data_ptr<T>(), d_kv,
                                  d_kv + saved[0].size(1),    gradients[3].data_ptr<T>(),
                                  gradients[4].data_ptr<T>(), gradients[5].data_ptr<T>()};
      at::parallel_for(0, shape.heads, 1, [&](int64_t begin, int64_t end) {
        RabAttentionBackward<T>(shape, rows->Visibility(shape.queries),
                                Inputs<T>(saved[0], saved[1], saved[2], saved[3], saved[4]), begin,
                                end, saved[5].data_ptr<T>(), saved[6].data_ptr<T>(),
                                d_out.data_ptr<T>(), to);
      });
    });
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

torch::Tensor RabAttention(const std::shared_ptr<const ChannelRows>& rows, const torch::Tensor& q,
                           const torch::Tensor& kv, const torch::Tensor& codebook_position,
                           const torch::Tensor& codebook_time,
                           const torch::Tensor& codebook_action) {
  return AttentionFunction::apply(rows, q, kv, codebook_position, codebook_time, codebook_action);
}

}  // namespace grab
