// Which past events a candidate attends to, and through which bias (GRAB, arXiv 2602.01865,
// Sec. 5.3, of one request).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/timeline.h"
#include "model/model.h"

namespace grab {

// One event's part of a candidate's attention in the last layer of a channel, means over heads.
struct EventShare {
  uint32_t event = 0;  // row of the history
  uint32_t channel = 0;
  float share = 0.0f;  // of 1; the rest is other events' and the candidate's own
  // Parts of its logit, each over sqrt(head width).
  float content = 0.0f, position = 0.0f, time = 0.0f, action = 0.0f;
};

struct Inspection {
  std::vector<float> probabilities;             // [candidates, tasks]
  std::vector<std::vector<EventShare>> shares;  // [candidates], the largest first
};

// Scores `candidates`, which share one request time, after `history`, events of one user in order
// of known time, by the whole-timeline forward in f32. A model without channels has no shares.
StatusOr<Inspection> Inspect(const Model& model, const EventColumns& history,
                             const EventColumns& candidates);

}  // namespace grab
