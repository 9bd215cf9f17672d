#include "bench/ours_attention.h"

#include "base/threads.h"
#include "kernels/rab_attention.h"

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

}  // namespace

OursAttention::OursAttention(const AttentionProblem& problem, int threads)
    : problem_(problem),
      threads_(threads),
      out_(torch::empty_like(problem.q)),
      log_sum_(torch::empty({problem.rows->rows(), problem.spec.heads})) {
  for (const torch::Tensor& operand : {problem.q, problem.kv, problem.codebook_position,
                                       problem.codebook_time, problem.codebook_action}) {
    gradients_.push_back(torch::empty_like(operand));
  }
}

void OursAttention::Forward() {
  const ChannelRows& rows = *problem_.rows;
  ParallelFor(problem_.spec.heads, threads_, [&](int, int64_t begin, int64_t end) {
    RabAttentionForward<float>(rows.Shape(rows.rows()), rows.Visibility(rows.rows()),
                               Inputs(problem_), begin, end, out_.data_ptr<float>(),
                               log_sum_.data_ptr<float>());
  });
}

void OursAttention::Backward() {
  for (torch::Tensor& gradient : gradients_) gradient.zero_();
  float* d_kv = gradients_[1].data_ptr<float>();
  const RabGradients<float> gradients = {
      gradients_[0].data_ptr<float>(), d_kv,
      d_kv + problem_.spec.d_model,    gradients_[2].data_ptr<float>(),
      gradients_[3].data_ptr<float>(), gradients_[4].data_ptr<float>()};
  const ChannelRows& rows = *problem_.rows;
  ParallelFor(problem_.spec.heads, threads_, [&](int, int64_t begin, int64_t end) {
    RabAttentionBackward<float>(rows.Shape(rows.rows()), rows.Visibility(rows.rows()),
                                Inputs(problem_), begin, end, out_.data_ptr<float>(),
                                log_sum_.data_ptr<float>(), problem_.d_out.data_ptr<float>(),
                                gradients);
  });
}

}  // namespace grab::bench
