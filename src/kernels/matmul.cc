#include "kernels/matmul.h"

#include <algorithm>
#include <bit>
#include <dnnl.hpp>
#include <map>
#include <tuple>

#include "base/check.h"
#include "kernels/vector_ops.h"

namespace grab {
namespace {

using dnnl::memory;

constexpr int64_t kPieceMax = 256;
constexpr int64_t kPieceMin = 16;

// Powers of two from kPieceMax down to kPieceMin, then what is left: any count is made of at most
// kPieceMin - 1 + 5 different sizes.
int64_t NextPiece(int64_t left) {
  if (left < kPieceMin) return left;
  return std::min(kPieceMax, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(left))));
}

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

struct Bf16Product {
  dnnl::matmul primitive;
  memory a, b, out, scratch;
};

memory::desc Describe(int64_t rows, int64_t columns, const Operand& operand) {
  const memory::dims strides =
      operand.transposed ? memory::dims{1, operand.stride} : memory::dims{operand.stride, 1};
  return {{rows, columns}, memory::data_type::bf16, strides};
}

Bf16Product MakeProduct(int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b,
                        bool accumulate, int64_t out_stride) {
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const memory::desc a_desc = Describe(m, k, a);
  const memory::desc b_desc = Describe(k, n, b);
  const memory::desc out_desc({m, n}, memory::data_type::f32, memory::dims{out_stride, 1});
  const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(a_desc, b_desc, out_desc), attributes,
                                          Engine());
  return {dnnl::matmul(desc), memory(a_desc, Engine(), nullptr), memory(b_desc, Engine(), nullptr),
          memory(out_desc, Engine(), nullptr), memory(desc.scratchpad_desc(), Engine())};
}

void MultiplyPiece(int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b,
                   bool accumulate, float* out, int64_t out_stride) {
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, bool, bool>;
  thread_local std::map<Key, Bf16Product> products;
  thread_local dnnl::stream stream(Engine());
  const Key key(m, n, k, a.stride, b.stride, out_stride, a.transposed, b.transposed, accumulate);
  auto found = products.find(key);
  if (found == products.end()) {
    found = products.emplace(key, MakeProduct(m, n, k, a, b, accumulate, out_stride)).first;
  }
  Bf16Product& product = found->second;
  product.a.set_data_handle(const_cast<void*>(a.data));
  product.b.set_data_handle(const_cast<void*>(b.data));
  product.out.set_data_handle(out);
  product.primitive.execute(stream, {{DNNL_ARG_SRC, product.a},
                                     {DNNL_ARG_WEIGHTS, product.b},
                                     {DNNL_ARG_DST, product.out},
                                     {DNNL_ARG_SCRATCHPAD, product.scratch}});
  stream.wait();
}

}  // namespace

bool Supported(Precision precision) {
  if (precision != Precision::kBf16) return precision == Precision::kF32;
  const memory::desc bf16({16, 16}, memory::data_type::bf16, memory::format_tag::ab);
  const memory::desc f32({16, 16}, memory::data_type::f32, memory::format_tag::ab);
  dnnl_primitive_desc_t desc = nullptr;
  const dnnl::matmul::desc product(bf16, bf16, f32);
  if (dnnl_primitive_desc_create(&desc, &product.data, nullptr, Engine().get(), nullptr) !=
      dnnl_success) {
    return false;
  }
  dnnl_primitive_desc_destroy(desc);
  return true;
}

Operand Operand::From(int64_t row) const {
  const int64_t bytes = row * stride * (precision == Precision::kF32 ? 4 : 2);
  return {precision, static_cast<const char*>(data) + bytes, stride, transposed};
}

int64_t OperandScratch(Precision precision, int64_t elements) {
  return precision == Precision::kF32 ? 0 : (elements + 1) / 2;
}

Operand MakeOperand(Precision precision, int64_t rows, int64_t width, const float* data,
                    int64_t stride, float* scratch) {
  if (precision == Precision::kF32) return {precision, data, stride, false};
  auto* to = reinterpret_cast<uint16_t*>(scratch);
  if (stride == width) {
    ToBf16(rows * width, data, to);
  } else {
    for (int64_t r = 0; r < rows; ++r) ToBf16(width, data + r * stride, to + r * width);
  }
  return {precision, to, width, false};
}

void Multiply(int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b, bool accumulate,
              float* out, int64_t out_stride) {
  if (m == 0 || n == 0) return;
  if (a.precision == Precision::kF32) {
    const dnnl_status_t status =
        dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f,
                   static_cast<const float*>(a.data), a.stride, static_cast<const float*>(b.data),
                   b.stride, accumulate ? 1.0f : 0.0f, out, out_stride);
    GRAB_CHECK(status == dnnl_success);
    return;
  }
  GRAB_CHECK(!a.transposed || !b.transposed);
  const int64_t total = a.transposed ? k : m;
  for (int64_t begin = 0, size = 0; begin < total; begin += size) {
    size = NextPiece(total - begin);
    if (a.transposed) {
      MultiplyPiece(m, n, size, a.From(begin), b.From(begin), accumulate || begin > 0, out,
                    out_stride);
    } else {
      MultiplyPiece(size, n, k, a.From(begin), b, accumulate, out + begin * out_stride, out_stride);
    }
  }
}

}  // namespace grab
