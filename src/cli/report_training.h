// The curves of a training run out of its log.jsonl.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace grab {

inline constexpr size_t kTrainingPointsMax = 150;  // of a curve

struct TrainingPoint {
  double rows = 0.0;  // targets trained on so far, all passes
  double value = 0.0;
};

struct TrainingCurves {
  // At most kTrainingPointsMax points each: a longer curve is cut into runs of as many points, and
  // each is the mean of its values at its last row.
  std::vector<TrainingPoint> loss;
  std::vector<TrainingPoint> valid_auc;
  // Steps that trained the tables only, on another loss; they are in no curve.
  uint64_t table_steps = 0;
};

// `text` is the log, `file` is for messages. Of lines with the same step, which a resumed run
// repeats, the last counts. A line that is not as src/train writes it is a DataLoss "FILE:LINE:
// ...".
StatusOr<TrainingCurves> ParseRunLog(absl::string_view text, const std::string& file);

}  // namespace grab
