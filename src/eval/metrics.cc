#include "eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace grab {
namespace {

struct Scored {
  double p;
  uint8_t label;
};

struct GroupScored {
  uint64_t group;
  double p;
  uint8_t label;
};

// Neumaier's compensated sum: the error does not grow with the number of rows.
class Sum {
 public:
  void Add(double value) {
    const double total = total_ + value;
    correction_ +=
        std::abs(total_) >= std::abs(value) ? (total_ - total) + value : (value - total) + total_;
    total_ = total;
  }
  double Total() const { return total_ + correction_; }

 private:
  double total_ = 0.0;
  double correction_ = 0.0;
};

Status CheckRow(size_t row, double p, uint8_t label) {
  if (!(p >= 0.0 && p <= 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, ": expected a probability in [0, 1], got ", p));
  }
  if (label > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, ": expected a label of 0 or 1, got ", label));
  }
  return absl::OkStatus();
}

// AUC of rows ascending in p. Counts (positive, negative) pairs in halves, so that ties stay
// integers; the count is at most 2 * (n / 2)^2, which 64 bits do not hold for every n.
template <class Row>
std::optional<double> SortedAuc(absl::Span<const Row> rows) {
  uint64_t positives = 0;
  uint64_t negatives = 0;
  unsigned __int128 half_pairs = 0;
  for (size_t begin = 0; begin < rows.size();) {
    uint64_t tied_positives = 0;
    size_t end = begin;
    for (; end < rows.size() && rows[end].p == rows[begin].p; ++end) {
      tied_positives += rows[end].label;
    }
    const uint64_t tied_negatives = end - begin - tied_positives;
    half_pairs += static_cast<unsigned __int128>(tied_positives) * (2 * negatives + tied_negatives);
    positives += tied_positives;
    negatives += tied_negatives;
    begin = end;
  }
  if (positives == 0 || negatives == 0) return std::nullopt;
  const unsigned __int128 pairs = static_cast<unsigned __int128>(positives) * negatives;
  return static_cast<double>(half_pairs) / (2.0 * static_cast<double>(pairs));
}

double Entropy(double rate) { return -rate * std::log(rate) - (1.0 - rate) * std::log1p(-rate); }

}  // namespace

StatusOr<Metrics> ComputeMetrics(absl::Span<const double> p, absl::Span<const uint8_t> label) {
  GRAB_CHECK(p.size() == label.size());
  Metrics metrics;
  metrics.rows = p.size();
  std::vector<Scored> rows;
  rows.reserve(p.size());
  Sum loss;
  Sum prediction;
  for (size_t i = 0; i < p.size(); ++i) {
    GRAB_RETURN_IF_ERROR(CheckRow(i, p[i], label[i]));
    rows.push_back({p[i], label[i]});
    metrics.positives += label[i];
    prediction.Add(p[i]);
    const bool clip = (label[i] == 1 ? p[i] : 1.0 - p[i]) < kProbabilityFloor;
    metrics.clipped += clip;
    if (clip) {
      loss.Add(-std::log(kProbabilityFloor));
    } else {
      loss.Add(label[i] == 1 ? -std::log(p[i]) : -std::log1p(-p[i]));
    }
  }
  if (rows.empty()) return metrics;
  std::sort(rows.begin(), rows.end(), [](const Scored& a, const Scored& b) { return a.p < b.p; });
  metrics.auc = SortedAuc<Scored>(rows);
  const double n = static_cast<double>(metrics.rows);
  const double positives = static_cast<double>(metrics.positives);
  metrics.logloss = loss.Total() / n;
  if (metrics.auc.has_value()) metrics.ne = *metrics.logloss / Entropy(positives / n);
  if (metrics.positives > 0) metrics.pcoc = prediction.Total() / positives;
  return metrics;
}

StatusOr<GaucResult> ComputeGauc(absl::Span<const double> p, absl::Span<const uint8_t> label,
                                 absl::Span<const uint64_t> group) {
  GRAB_CHECK(p.size() == label.size() && p.size() == group.size());
  GaucResult result;
  result.rows = p.size();
  std::vector<GroupScored> rows;
  rows.reserve(p.size());
  for (size_t i = 0; i < p.size(); ++i) {
    GRAB_RETURN_IF_ERROR(CheckRow(i, p[i], label[i]));
    if (group[i] != 0) rows.push_back({group[i], p[i], label[i]});
  }
  result.rows_ungrouped = p.size() - rows.size();
  std::sort(rows.begin(), rows.end(), [](const GroupScored& a, const GroupScored& b) {
    return a.group != b.group ? a.group < b.group : a.p < b.p;
  });
  Sum weighted;
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin;
    while (end < rows.size() && rows[end].group == rows[begin].group) ++end;
    const auto auc = SortedAuc<GroupScored>(absl::MakeConstSpan(&rows[begin], end - begin));
    ++result.groups;
    if (auc.has_value()) {
      ++result.groups_used;
      result.rows_used += end - begin;
      weighted.Add(*auc * static_cast<double>(end - begin));
    }
    begin = end;
  }
  if (result.rows_used > 0) result.gauc = weighted.Total() / static_cast<double>(result.rows_used);
  return result;
}

}  // namespace grab
