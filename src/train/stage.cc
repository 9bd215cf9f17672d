#include "train/stage.h"

#include "base/check.h"

namespace grab {

std::vector<Stage> StagesOf(const TrainConfig& config) {
  if (config.mode == "end_to_end") return {Stage::kJoint};
  return {Stage::kSequence, Stage::kSparse};
}

const char* StageName(Stage stage) {
  switch (stage) {
    case Stage::kJoint:
      return "joint";
    case Stage::kSequence:
      return "sequence";
    case Stage::kSparse:
      return "sparse";
  }
  GRAB_CHECK(false);
  return "";
}

}  // namespace grab
