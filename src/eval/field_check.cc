#include "eval/field_check.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "base/rng.h"
#include "eval/metrics.h"

namespace grab {
namespace {

// A field of the targets: their keys, and as many numbers each as the field has components.
struct FieldOfTargets {
  std::vector<uint32_t> offsets = {0};  // targets + 1, into keys
  std::vector<uint64_t> keys;
  std::vector<float> numbers;
  std::vector<uint8_t> label;
  std::vector<bool> scored;

  size_t targets() const { return label.size(); }
};

// Those looked at.
size_t Components(const FieldSchema& field) {
  if (field.kind == FieldKind::kNumber) return 1;
  return field.kind == FieldKind::kDense ? std::min(field.width, kFieldComponentsMax) : 0;
}

void AddTarget(const FieldSchema& field, const FieldColumn& column, size_t i, FieldOfTargets& out) {
  const size_t stride = field.kind == FieldKind::kDense ? field.width : 1;
  const size_t width = Components(field);
  const auto number = column.numbers.begin() + static_cast<ptrdiff_t>(width > 0 ? i * stride : 0);
  out.numbers.insert(out.numbers.end(), number, number + static_cast<ptrdiff_t>(width));
  switch (field.kind) {
    case FieldKind::kId:
      out.keys.push_back(column.ids[i]);
      break;
    case FieldKind::kIds:
      out.keys.insert(out.keys.end(), column.ids.begin() + column.offsets[i],
                      column.ids.begin() + column.offsets[i + 1]);
      if (column.offsets[i] == column.offsets[i + 1]) out.keys.push_back(0);
      break;
    case FieldKind::kNumber:
      out.keys.push_back(std::bit_cast<uint32_t>(*number));
      break;
    case FieldKind::kDense:  // vectors hardly repeat; whether there is one may tell
      out.keys.push_back(std::isnan(*number) ? 0 : 1);
      break;
  }
  out.offsets.push_back(static_cast<uint32_t>(out.keys.size()));
}

StatusOr<FieldOfTargets> ReadField(const ShardSet& shards, size_t f, size_t task,
                                   uint64_t targets_max) {
  const FieldSchema& field = shards.schema().fields[f];
  FieldOfTargets out;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (out.targets() >= targets_max) break;
    if (shards.info(ref).targets[static_cast<size_t>(Split::kTrain)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    const EventColumns& events = block.events;
    for (size_t i = 0; i < events.size() && out.targets() < targets_max; ++i) {
      if (events.split[i] != Split::kTrain || (events.labels_known[i] >> task & 1) == 0) continue;
      AddTarget(field, events.fields[f], i, out);
      out.label.push_back(static_cast<uint8_t>(events.labels[i] >> task & 1));
      out.scored.push_back((Mix64(events.event_id[i]) & 1) != 0);
    }
  }
  return out;
}

// AUC of the scored half by the label rates of the other.
StatusOr<std::optional<double>> AucOfRates(const FieldOfTargets& field) {
  struct Count {
    double rows = 0.0, positives = 0.0;
  };
  absl::flat_hash_map<uint64_t, Count> counts;
  Count all;
  const auto add = [&](Count& count, size_t t) {
    count.rows += 1.0;
    count.positives += field.label[t];
  };
  for (size_t t = 0; t < field.targets(); ++t) {
    if (field.scored[t]) continue;
    add(all, t);
    for (uint32_t k = field.offsets[t]; k < field.offsets[t + 1]; ++k) {
      add(counts[field.keys[k]], t);
    }
  }
  const double base = all.rows > 0.0 ? all.positives / all.rows : 0.0;
  std::vector<double> p;
  std::vector<uint8_t> label;
  for (size_t t = 0; t < field.targets(); ++t) {
    if (!field.scored[t]) continue;
    double sum = 0.0;
    for (uint32_t k = field.offsets[t]; k < field.offsets[t + 1]; ++k) {
      const auto found = counts.find(field.keys[k]);
      const Count count = found == counts.end() ? Count() : found->second;
      sum += (count.positives + base) / (count.rows + 1.0);
    }
    p.push_back(sum / (field.offsets[t + 1] - field.offsets[t]));
    label.push_back(field.label[t]);
  }
  GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(p, label));
  const uint64_t fewer = std::min(metrics.positives, metrics.rows - metrics.positives);
  return fewer < kFieldAucRowsMin ? std::nullopt : metrics.auc;
}

// The same rows ordered by a number: AUC, or one less it if that is more. Ranks stand for the
// values, which are no probabilities.
StatusOr<std::optional<double>> AucOfNumber(const FieldOfTargets& field, size_t component,
                                            size_t width) {
  std::vector<std::pair<float, uint8_t>> rows;
  for (size_t t = 0; t < field.targets(); ++t) {
    const float value = field.numbers[t * width + component];
    if (field.scored[t] && !std::isnan(value)) rows.push_back({value, field.label[t]});
  }
  std::sort(rows.begin(), rows.end());
  std::vector<double> p;
  std::vector<uint8_t> label;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool tied = i > 0 && rows[i].first == rows[i - 1].first;
    p.push_back(tied ? p.back() : static_cast<double>(i) / static_cast<double>(rows.size()));
    label.push_back(rows[i].second);
  }
  GRAB_ASSIGN_OR_RETURN(const Metrics metrics, ComputeMetrics(p, label));
  const uint64_t fewer = std::min(metrics.positives, metrics.rows - metrics.positives);
  if (fewer < kFieldAucRowsMin) return std::nullopt;
  return std::max(*metrics.auc, 1.0 - *metrics.auc);
}

}  // namespace

StatusOr<std::vector<std::optional<double>>> SingleFieldAucs(const ShardSet& shards,
                                                             const std::vector<int>& fields,
                                                             size_t task, uint64_t targets_max) {
  std::vector<std::optional<double>> aucs;
  for (const int index : fields) {
    const auto f = static_cast<size_t>(index);
    GRAB_ASSIGN_OR_RETURN(const FieldOfTargets field, ReadField(shards, f, task, targets_max));
    GRAB_ASSIGN_OR_RETURN(std::optional<double> best, AucOfRates(field));
    const size_t width = Components(shards.schema().fields[f]);
    for (size_t c = 0; c < width; ++c) {
      GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, AucOfNumber(field, c, width));
      if (auc.has_value()) best = std::max(best.value_or(0.0), *auc);
    }
    aucs.push_back(best);
  }
  return aucs;
}

}  // namespace grab
