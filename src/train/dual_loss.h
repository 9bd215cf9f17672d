// How much the base head's loss still counts (DESIGN 4, "Warm start and dual loss"): fully until
// the model's own loss plateaus, then less and less, then not at all.
#pragma once

#include <cstdint>

#include "config/settings.h"

namespace grab {

// Part of a run's counters: a resumed run goes on bit for bit.
struct DualLossState {
  double loss_sum = 0.0;  // of the open window, weighted by targets
  int64_t window_targets = 0;
  double window_loss = 0.0;  // mean of the window before
  int64_t windows = 0;       // complete ones
  int64_t plateau_at = -1;   // targets trained when the plateau was seen; -1: not yet
};

// lambda in [0, weight] after `targets` trained targets.
double DualLossWeight(const DualLossConfig& config, const DualLossState& state, int64_t targets);

// Counts a batch of `batch_targets` targets, after which `targets` are trained, with the model's
// own mean loss `loss`.
void ObserveLoss(const DualLossConfig& config, double loss, int64_t batch_targets, int64_t targets,
                 DualLossState& state);

}  // namespace grab
