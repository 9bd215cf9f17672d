#include "bench/ours_attention.h"

namespace grab::bench {
namespace {

RabInputs<float> Inputs(const AttentionProblem& p) {
  const int64_t d = p.spec.d_model;
  const float* kv = p.kv.data_ptr<float>();
  return {p.q.data_ptr<float>(),
          kv,
          kv + d,
          d,
          2 * d,
          p.codebook_position.data_ptr<float>(),
          p.codebook_time.data_ptr<float>(),
          p.codebook_action.data_ptr<float>()};
}

RabShape Shape(const AttentionProblem& p) { return p.rows->Shape(p.rows->rows()); }

}  // namespace

OursAttention::OursAttention(const AttentionProblem& problem)
    : problem_(problem),
      codebooks_(torch::empty({RabCodebookFloats(Shape(problem))})),
      out_(torch::empty_like(problem.q)),
      log_sum_(torch::empty({problem.rows->rows(), problem.spec.heads})),
      forward_scratch_(RabForwardScratchBytes(Shape(problem), problem.rows->segment_keys_max())),
      backward_scratch_(RabBackwardScratchBytes(Shape(problem), problem.rows->segment_keys_max())) {
  for (const torch::Tensor& operand : {problem.q, problem.kv, problem.codebook_position,
                                       problem.codebook_time, problem.codebook_action}) {
    gradients_.push_back(torch::empty_like(operand));
  }
}

RabProblem OursAttention::Pack() {
  const RabInputs<float> inputs = Inputs(problem_);
  PackRabCodebooks(Shape(problem_), inputs.codebook_position, inputs.codebook_time,
                   inputs.codebook_action, codebooks_.data_ptr<float>());
  return problem_.rows->Problem(problem_.rows->rows(), inputs, codebooks_.data_ptr<float>());
}

void OursAttention::Forward() {
  const RabProblem rab = Pack();
  RabForward(rab, 0, rab.segment_count, 0, rab.shape.heads, out_.data_ptr<float>(),
             log_sum_.data_ptr<float>(), forward_scratch_.data());
}

void OursAttention::Backward() {
  for (torch::Tensor& gradient : gradients_) gradient.zero_();
  float* d_kv = gradients_[1].data_ptr<float>();
  const RabGradients<float> gradients = {
      gradients_[0].data_ptr<float>(), d_kv,
      d_kv + problem_.spec.d_model,    gradients_[2].data_ptr<float>(),
      gradients_[3].data_ptr<float>(), gradients_[4].data_ptr<float>()};
  const RabProblem rab = Pack();
  RabBackward(rab, 0, rab.segment_count, 0, rab.shape.heads, out_.data_ptr<float>(),
              log_sum_.data_ptr<float>(), problem_.d_out.data_ptr<float>(), gradients,
              backward_scratch_.data());
}

}  // namespace grab::bench
