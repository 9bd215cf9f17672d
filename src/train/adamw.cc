#include "train/adamw.h"

#include <torch/utils.h>

#include <cmath>
#include <numeric>

#include "kernels/vector_ops.h"

namespace grab {

AdamW::AdamW(const std::vector<std::pair<std::string, torch::Tensor>>& weights, double weight_decay)
    : weights_(weights), weight_decay_(weight_decay), steps_(weights.size(), 0) {
  for (const auto& [name, weight] : weights_) {
    first_.push_back(torch::zeros_like(weight, weight.options().requires_grad(false)));
    second_.push_back(torch::zeros_like(weight, weight.options().requires_grad(false)));
  }
}

void AdamW::Step(double learning_rate, double gradient_scale, WorkerPool& pool) {
  pool.ForEach(weights_.size(), [&](size_t i) {
    torch::NoGradGuard no_grad;
    if (weights_[i].second.grad().defined()) UpdateWeight(i, learning_rate, gradient_scale);
  });
}

void AdamW::UpdateWeight(size_t i, double learning_rate, double gradient_scale) {
  constexpr double kBeta1 = 0.9;
  constexpr double kBeta2 = 0.999;
  constexpr double kEpsilon = 1e-8;
  const auto steps = static_cast<double>(++steps_[i]);
  const double rate = learning_rate / (1.0 - std::pow(kBeta1, steps));
  const double correct2 = 1.0 - std::pow(kBeta2, steps);
  torch::Tensor& weight = weights_[i].second;
  const double keep = weight.dim() > 1 ? 1.0 - learning_rate * weight_decay_ : 1.0;
  const torch::Tensor gradient = weight.grad().contiguous();
  if (weight.scalar_type() == torch::kFloat32) {
    AdamWUpdate(
        weight.numel(),
        {static_cast<float>(kBeta1), static_cast<float>(kBeta2), static_cast<float>(kEpsilon),
         static_cast<float>(gradient_scale), static_cast<float>(keep), static_cast<float>(rate),
         static_cast<float>(1.0 / correct2)},
        gradient.data_ptr<float>(), first_[i].data_ptr<float>(), second_[i].data_ptr<float>(),
        weight.data_ptr<float>());
  } else {
    const torch::Tensor scaled = gradient * gradient_scale;
    first_[i].mul_(kBeta1).add_(scaled, 1.0 - kBeta1);
    second_[i].mul_(kBeta2).addcmul_(scaled, scaled, 1.0 - kBeta2);
    weight.mul_(keep).addcdiv_(first_[i], (second_[i] / correct2).sqrt_().add_(kEpsilon), -rate);
  }
  weight.mutable_grad() = torch::Tensor();
}

double GradientNorm(const std::vector<std::pair<std::string, torch::Tensor>>& weights,
                    WorkerPool& pool) {
  std::vector<double> squares(weights.size(), 0.0);
  pool.ForEach(weights.size(), [&](size_t i) {
    const torch::Tensor gradient = weights[i].second.grad();
    if (!gradient.defined()) return;
    squares[i] = SumOfSquares(gradient.numel(), gradient.contiguous().data_ptr<float>());
  });
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

double ClipFactor(double norm, double norm_max) {
  return norm_max > 0.0 && norm > norm_max ? norm_max / norm : 1.0;
}

}  // namespace grab
