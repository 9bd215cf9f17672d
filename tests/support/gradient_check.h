// Gradients against central differences, in f64.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <string>

namespace grab::testing {

// With step 1e-6 the difference itself is good to about 1e-9 of a loss of order 1; 1e-7 is asked.
// At most six elements per tensor, evenly spread.
inline void CheckGradient(const std::string& name, torch::Tensor tensor,
                          const std::function<double()>& loss) {
  constexpr double kStep = 1e-6;
  constexpr int64_t kElementsMax = 6;
  torch::NoGradGuard no_grad;
  ASSERT_TRUE(tensor.grad().defined()) << name;
  const torch::Tensor gradient = tensor.grad().contiguous();
  double* values = tensor.data_ptr<double>();
  const int64_t stride = std::max<int64_t>(1, tensor.numel() / kElementsMax);
  for (int64_t i = 0; i < tensor.numel(); i += stride) {
    const double kept = values[i];
    values[i] = kept + kStep;
    const double up = loss();
    values[i] = kept - kStep;
    const double down = loss();
    values[i] = kept;
    const double expected = (up - down) / (2 * kStep);
    ASSERT_NEAR(gradient.data_ptr<double>()[i], expected, 1e-7 * (1 + std::abs(expected)))
        << name << " element " << i;
  }
}

}  // namespace grab::testing
