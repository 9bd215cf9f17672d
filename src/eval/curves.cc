#include "eval/curves.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "data/time_range.h"
#include "eval/metrics.h"

namespace grab {
namespace {

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 60 * kMinuteMs;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kWidthsMs[] = {kMinuteMs,      5 * kMinuteMs, 15 * kMinuteMs,
                                 30 * kMinuteMs, kHourMs,       2 * kHourMs,
                                 3 * kHourMs,    6 * kHourMs,   12 * kHourMs};

TimeBins Bins(int64_t first_ms, int64_t last_ms, int64_t width_ms) {
  const int64_t begin_ms = first_ms / width_ms * width_ms;
  return {begin_ms, width_ms, static_cast<size_t>((last_ms - begin_ms) / width_ms) + 1};
}

}  // namespace

std::vector<CalibrationPoint> CalibrationCurve(absl::Span<const double> p,
                                               absl::Span<const uint8_t> label, size_t bins) {
  GRAB_CHECK(p.size() == label.size() && bins > 0);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<CalibrationPoint> points(std::min(bins, p.size()));
  for (size_t b = 0; b < points.size(); ++b) {
    const size_t begin = b * p.size() / points.size();
    const size_t end = (b + 1) * p.size() / points.size();
    CalibrationPoint& point = points[b];
    point.rows = end - begin;
    for (size_t i = begin; i < end; ++i) {
      point.p_mean += p[order[i]];
      point.label_mean += label[order[i]];
    }
    point.p_mean /= static_cast<double>(point.rows);
    point.label_mean /= static_cast<double>(point.rows);
  }
  return points;
}

StatusOr<TimeBins> MakeTimeBins(int64_t first_ms, int64_t last_ms, size_t count_max) {
  GRAB_CHECK(first_ms <= last_ms && count_max > 1);
  if (first_ms < 0 || last_ms > kTimeMaxMs) {
    return absl::InvalidArgumentError(absl::StrCat("expected times from 0 to ", kTimeMaxMs,
                                                   " ms, got ", first_ms, " to ", last_ms));
  }
  for (const int64_t width_ms : kWidthsMs) {
    const TimeBins bins = Bins(first_ms, last_ms, width_ms);
    if (bins.count <= count_max) return bins;
  }
  for (int64_t width_ms = kDayMs;; width_ms *= 2) {
    const TimeBins bins = Bins(first_ms, last_ms, width_ms);
    if (bins.count <= count_max) return bins;
  }
}

StatusOr<std::vector<AucPoint>> AucOverTime(const TimeBins& bins, absl::Span<const int64_t> time_ms,
                                            absl::Span<const double> p,
                                            absl::Span<const uint8_t> label,
                                            uint64_t class_rows_min) {
  GRAB_CHECK(time_ms.size() == p.size() && p.size() == label.size());
  std::vector<std::vector<double>> p_of(bins.count);
  std::vector<std::vector<uint8_t>> label_of(bins.count);
  for (size_t i = 0; i < p.size(); ++i) {
    p_of[bins.Of(time_ms[i])].push_back(p[i]);
    label_of[bins.Of(time_ms[i])].push_back(label[i]);
  }
  std::vector<AucPoint> points;
  for (size_t b = 0; b < bins.count; ++b) {
    GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(p_of[b], label_of[b]));
    AucPoint& point = points.emplace_back();
    point.rows = metrics.rows;
    point.positives = metrics.positives;
    if (std::min(metrics.positives, metrics.rows - metrics.positives) >= class_rows_min) {
      point.auc = metrics.auc;
    }
  }
  return points;
}

}  // namespace grab
