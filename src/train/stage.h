// The stages of a pass (DESIGN 4, "STS"; GRAB 3.4 and Algorithm 1).
#pragma once

#include <cstdint>
#include <vector>

#include "config/settings.h"

namespace grab {

enum class Stage : uint8_t {
  kJoint,     // everything at once, on packed users (or, of a model without history, impressions)
  kSequence,  // dense weights on packed users; tables are frozen, and get no new rows
  kSparse,    // tables, through an aggregate-and-score head of their own; the model is frozen
};

// In the order of a pass.
std::vector<Stage> StagesOf(const TrainConfig& config);

const char* StageName(Stage stage);  // "joint", "sequence", "sparse"

// Which side a stage trains.
inline bool TrainsModel(Stage stage) { return stage != Stage::kSparse; }
inline bool TrainsTables(Stage stage) { return stage != Stage::kSequence; }

}  // namespace grab
