// A matrix product by a oneDNN matmul primitive, made once: what the machine's GEMM rate is
// measured with.
#pragma once

#include <cstdint>
#include <memory>

namespace grab::bench {

enum class GemmType {
  kF32,
  kBf16,  // bf16 x bf16, f32 out
  kU8S8,  // unsigned x signed bytes, s32 out
};

const char* Name(GemmType type);

struct GemmShape {
  int64_t m = 0, n = 0, k = 0;
};

class Gemm {
 public:
  // Operands are this object's and hold zeros; the second one lies as the primitive wants
  // it.
  Gemm(GemmType type, const GemmShape& shape);
  ~Gemm();

  void Run();
  double flops() const;

 private:
  struct Primitive;
  GemmShape shape_;
  std::unique_ptr<Primitive> primitive_;
};

}  // namespace grab::bench
