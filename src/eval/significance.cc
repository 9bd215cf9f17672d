#include "eval/significance.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace grab {

double StudentTwoSided(double t, int degrees) {
  GRAB_CHECK(degrees >= 1);
  const double angle = std::atan(std::abs(t) / std::sqrt(static_cast<double>(degrees)));
  const double sine = std::sin(angle), cosine = std::cos(angle);
  // Terms cos^k times the product of (j - 1) / j over j = k, k - 2, ...; k has the parity of
  // degrees.
  const int first = degrees % 2;
  double term = first == 1 ? cosine : 1.0;
  double sum = degrees == 1 ? 0.0 : term;
  for (int k = first + 2; k <= degrees - 2; k += 2) {
    term *= cosine * cosine * (k - 1) / k;
    sum += term;
  }
  const double inside = first == 1 ? 2.0 / std::numbers::pi * (angle + sine * sum) : sine * sum;
  return std::clamp(1.0 - inside, 0.0, 1.0);
}

PairedDifference PairedTTest(absl::Span<const double> differences) {
  GRAB_CHECK(!differences.empty());
  const auto n = static_cast<double>(differences.size());
  PairedDifference result;
  for (const double difference : differences) result.mean += difference / n;
  if (differences.size() == 1) return result;
  double squares = 0.0;
  for (const double difference : differences) {
    squares += (difference - result.mean) * (difference - result.mean);
  }
  result.sd = std::sqrt(squares / (n - 1.0));
  if (*result.sd == 0.0) return result;
  result.p = StudentTwoSided(result.mean / (*result.sd / std::sqrt(n)),
                             static_cast<int>(differences.size()) - 1);
  return result;
}

double ChanceAucSd(uint64_t positives, uint64_t negatives) {
  GRAB_CHECK(positives > 0 && negatives > 0);
  const auto m = static_cast<double>(positives);
  const auto n = static_cast<double>(negatives);
  return std::sqrt((m + n + 1.0) / (12.0 * m * n));
}

}  // namespace grab
