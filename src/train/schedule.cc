#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace grab {

double LearningRateFactor(const TrainConfig& config, double progress) {
  if (progress < config.warmup_fraction) return progress / config.warmup_fraction;
  if (config.decay == "none" || config.warmup_fraction >= 1.0) return 1.0;
  const double share =
      std::clamp((progress - config.warmup_fraction) / (1.0 - config.warmup_fraction), 0.0, 1.0);
  const double remaining =
      config.decay == "cosine" ? 0.5 * (1.0 + std::cos(std::numbers::pi * share)) : 1.0 - share;
  return config.final_lr_fraction + (1.0 - config.final_lr_fraction) * remaining;
}

}  // namespace grab
