// Curves of scored rows: calibration, and AUC over time. Each is of a bounded number of points.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"

namespace grab {

struct CalibrationPoint {
  uint64_t rows = 0;
  double p_mean = 0.0;
  double label_mean = 0.0;
};

// The rows by ascending p, equal ones in the order given, cut into min(bins, rows) runs whose
// lengths differ by at most one. `p` and `label` have equal lengths, bins > 0.
std::vector<CalibrationPoint> CalibrationCurve(absl::Span<const double> p,
                                               absl::Span<const uint8_t> label, size_t bins);

// Equal spans of time that cover [first_ms, last_ms]. They begin at multiples of their width in
// UTC.
struct TimeBins {
  int64_t begin_ms = 0;
  int64_t width_ms = 1;
  size_t count = 0;

  // Of a time that the bins cover.
  size_t Of(int64_t time_ms) const { return static_cast<size_t>((time_ms - begin_ms) / width_ms); }
  int64_t Begin(size_t bin) const { return begin_ms + width_ms * static_cast<int64_t>(bin); }
};

// The narrowest width of 1, 5, 15, 30 minutes, 1, 2, 3, 6, 12 hours, and 1, 2, 4, ... days that
// needs at most `count_max` (> 1) bins. first_ms <= last_ms; times before 1970 or after kTimeMaxMs
// are an InvalidArgument.
StatusOr<TimeBins> MakeTimeBins(int64_t first_ms, int64_t last_ms, size_t count_max);

struct AucPoint {
  uint64_t rows = 0;
  uint64_t positives = 0;
  std::optional<double> auc;  // nullopt: fewer than `class_rows_min` rows of a class
};

// The AUC of each bin's rows. All three spans have equal lengths, the bins cover every time. Errors
// as ComputeMetrics.
StatusOr<std::vector<AucPoint>> AucOverTime(const TimeBins& bins, absl::Span<const int64_t> time_ms,
                                            absl::Span<const double> p,
                                            absl::Span<const uint8_t> label,
                                            uint64_t class_rows_min);

}  // namespace grab
