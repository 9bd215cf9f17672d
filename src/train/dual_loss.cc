#include "train/dual_loss.h"

#include <algorithm>

namespace grab {

double DualLossWeight(const DualLossConfig& config, const DualLossState& state, int64_t targets) {
  if (state.plateau_at < 0) return config.weight;
  const double share =
      static_cast<double>(targets - state.plateau_at) / static_cast<double>(config.decay_targets);
  return config.weight * std::clamp(1.0 - share, 0.0, 1.0);
}

void ObserveLoss(const DualLossConfig& config, double loss, int64_t batch_targets, int64_t targets,
                 DualLossState& state) {
  if (config.weight == 0.0 || state.plateau_at >= 0) return;
  state.loss_sum += loss * static_cast<double>(batch_targets);
  state.window_targets += batch_targets;
  if (state.window_targets < config.window_targets) return;
  const double mean = state.loss_sum / static_cast<double>(state.window_targets);
  if (state.windows > 0 && mean > state.window_loss * (1.0 - config.plateau)) {
    state.plateau_at = targets;
  }
  state.window_loss = mean;
  ++state.windows;
  state.loss_sum = 0.0;
  state.window_targets = 0;
}

}  // namespace grab
