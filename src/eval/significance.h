// Whether two models differ by more than their seeds do.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace grab {

struct PairedDifference {
  double mean = 0.0;
  std::optional<double> sd;  // sample standard deviation; nullopt of one difference
  std::optional<double> p;   // nullopt of one difference, or where all are equal
};

// Student's paired t-test, two-sided, of differences that are one per seed. At least one.
PairedDifference PairedTTest(absl::Span<const double> differences);

// P(|T| > |t|) of Student's t with `degrees` >= 1 of freedom (Abramowitz and Stegun 26.7.3, 26.7.4:
// finite sums).
double StudentTwoSided(double t, int degrees);

// Standard deviation of the AUC of scores that know nothing of the labels: of the Mann-Whitney
// statistic under its null, which ties only make smaller (Lehmann, Nonparametrics, 1.2). Both
// counts are at least 1.
double ChanceAucSd(uint64_t positives, uint64_t negatives);

}  // namespace grab
