#pragma once

#include "config/settings.h"

namespace grab {

// Factor on every learning rate after `progress` (in [0, 1]) of all training targets: linear
// warm-up from 0 over warmup_fraction, then the configured decay down to final_lr_fraction.
double LearningRateFactor(const TrainConfig& config, double progress);

}  // namespace grab
