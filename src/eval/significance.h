// Whether two models differ by more than their seeds do.
#pragma once

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

}  // namespace grab
