#include "bench/gemm.h"

#include <dnnl.hpp>
#include <unordered_map>

#include "bench/flops.h"

namespace grab::bench {
namespace {

using dnnl::memory;

struct Types {
  memory::data_type a, b, c;
};

Types TypesOf(GemmType type) {
  switch (type) {
    case GemmType::kF32:
      return {memory::data_type::f32, memory::data_type::f32, memory::data_type::f32};
    case GemmType::kBf16:
      return {memory::data_type::bf16, memory::data_type::bf16, memory::data_type::f32};
    case GemmType::kU8S8:
      break;
  }
  return {memory::data_type::u8, memory::data_type::s8, memory::data_type::s32};
}

dnnl::matmul::primitive_desc Describe(const dnnl::engine& engine, const memory::desc& a,
                                      const memory::desc& b, const memory::desc& c) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c};
#else
  return {{a, b, c}, engine};
#endif
}

memory Zeros(const memory::desc& desc, const dnnl::engine& engine) {
  memory zeros(desc, engine);
  auto* bytes = static_cast<char*>(zeros.get_data_handle());
  std::fill(bytes, bytes + desc.get_size(), char{0});
  return zeros;
}

}  // namespace

struct Gemm::Primitive {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul matmul;
  std::unordered_map<int, memory> arguments;
};

const char* Name(GemmType type) {
  switch (type) {
    case GemmType::kF32:
      return "f32";
    case GemmType::kBf16:
      return "bf16";
    case GemmType::kU8S8:
      break;
  }
  return "u8s8";
}

Gemm::Gemm(GemmType type, const GemmShape& shape)
    : shape_(shape), primitive_(std::make_unique<Primitive>()) {
  using Tag = memory::format_tag;
  const Types types = TypesOf(type);
  const dnnl::engine& engine = primitive_->engine;
  const auto description =
      Describe(engine, {{shape.m, shape.k}, types.a, Tag::ab},
               {{shape.k, shape.n}, types.b, Tag::any}, {{shape.m, shape.n}, types.c, Tag::ab});
  primitive_->matmul = dnnl::matmul(description);
  primitive_->arguments = {{DNNL_ARG_SRC, Zeros(description.src_desc(), engine)},
                           {DNNL_ARG_WEIGHTS, Zeros(description.weights_desc(), engine)},
                           {DNNL_ARG_DST, Zeros(description.dst_desc(), engine)}};
}

Gemm::~Gemm() = default;

void Gemm::Run() {
  primitive_->matmul.execute(primitive_->stream, primitive_->arguments);
  primitive_->stream.wait();
}

double Gemm::flops() const {
  return DenseFlops(static_cast<double>(shape_.m), static_cast<double>(shape_.n),
                    static_cast<double>(shape_.k));
}

}  // namespace grab::bench
