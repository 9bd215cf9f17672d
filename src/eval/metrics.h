// Metrics of predicted probabilities against 0/1 labels. All are exact: ties count half in AUC,
// nothing is binned. A metric that is undefined on the given rows is nullopt, never a number.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "base/status.h"

namespace grab {

// Log-loss takes the logarithm of the probability given to the true label, at least this; AUC and
// PCOC use p as it is.
inline constexpr double kProbabilityFloor = 1e-12;

struct Metrics {
  uint64_t rows = 0;
  uint64_t positives = 0;
  uint64_t clipped = 0;           // rows that log-loss raised to kProbabilityFloor
  std::optional<double> auc;      // nullopt: one class only
  std::optional<double> logloss;  // natural logarithm, per row; nullopt: no rows
  std::optional<double> ne;       // logloss / entropy of the base rate; nullopt: one class only
  std::optional<double> pcoc;     // mean(p) / mean(label); nullopt: no positives
};

// `p` and `label` have equal lengths. A p outside [0, 1] (or NaN) or a label other than 0 and 1 is
// an InvalidArgument that names the row. O(n log n) time, 16 bytes per row.
StatusOr<Metrics> ComputeMetrics(absl::Span<const double> p, absl::Span<const uint8_t> label);

// Mean of the groups' AUCs weighted by their rows (impressions). Groups of one class have no AUC
// and are left out; so are rows of group 0, which means "in no group".
struct GaucResult {
  std::optional<double> gauc;   // nullopt: no group has both classes
  uint64_t rows = 0;            // all rows given
  uint64_t rows_ungrouped = 0;  // of group 0
  uint64_t rows_used = 0;       // in groups of both classes
  uint64_t groups = 0;          // distinct, without group 0
  uint64_t groups_used = 0;     // of both classes
};

// All three have equal lengths; errors as ComputeMetrics. O(n log n) time, 24 bytes per row.
StatusOr<GaucResult> ComputeGauc(absl::Span<const double> p, absl::Span<const uint8_t> label,
                                 absl::Span<const uint64_t> group);

}  // namespace grab
