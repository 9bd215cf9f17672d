#include "train/adamw.h"

#include <cmath>

namespace grab {

AdamW::AdamW(const std::vector<std::pair<std::string, torch::Tensor>>& weights, double weight_decay)
    : weights_(weights), weight_decay_(weight_decay) {
  for (const auto& [name, weight] : weights_) {
    first_.push_back(torch::zeros_like(weight, weight.options().requires_grad(false)));
    second_.push_back(torch::zeros_like(weight, weight.options().requires_grad(false)));
  }
}

void AdamW::Step(double learning_rate) {
  constexpr double kBeta1 = 0.9;
  constexpr double kBeta2 = 0.999;
  torch::NoGradGuard no_grad;
  ++steps_;
  const double correct1 = 1.0 - std::pow(kBeta1, static_cast<double>(steps_));
  const double correct2 = 1.0 - std::pow(kBeta2, static_cast<double>(steps_));
  for (size_t i = 0; i < weights_.size(); ++i) {
    torch::Tensor& weight = weights_[i].second;
    const torch::Tensor gradient = weight.grad();
    if (!gradient.defined()) continue;
    first_[i].mul_(kBeta1).add_(gradient, 1.0 - kBeta1);
    second_[i].mul_(kBeta2).addcmul_(gradient, gradient, 1.0 - kBeta2);
    if (weight.dim() > 1) weight.mul_(1.0 - learning_rate * weight_decay_);
    const torch::Tensor denominator = (second_[i] / correct2).sqrt_().add_(1e-8);
    weight.addcdiv_(first_[i], denominator, -learning_rate / correct1);
    weight.mutable_grad() = torch::Tensor();
  }
}

double ClipGradients(const std::vector<std::pair<std::string, torch::Tensor>>& weights,
                     double norm_max) {
  torch::NoGradGuard no_grad;
  double squares = 0.0;
  for (const auto& [name, weight] : weights) {
    if (!weight.grad().defined()) continue;
    const double norm = weight.grad().norm().item<double>();
    squares += norm * norm;
  }
  const double norm = std::sqrt(squares);
  if (norm_max > 0.0 && norm > norm_max) {
    for (const auto& [name, weight] : weights) {
      if (weight.grad().defined()) weight.grad().mul_(norm_max / norm);
    }
  }
  return norm;
}

}  // namespace grab
