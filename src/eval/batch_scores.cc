#include "eval/batch_scores.h"

#include "base/check.h"

namespace grab {
namespace {

template <class T>
void Extend(const std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

ScoreTable MakeScoreTable(const std::vector<std::string>& tasks,
                          const std::vector<std::string>& slices) {
  ScoreTable table;
  table.tasks = tasks;
  table.slices = slices;
  return table;
}

void AppendScores(const Batch& batch, absl::Span<const float> p, ScoreTable& table) {
  GRAB_CHECK(p.size() == batch.full.rows * table.tasks.size());
  GRAB_CHECK(batch.slices.size() == table.slices.size());
  Extend(batch.event_id, table.event_id);
  Extend(batch.user_key, table.user_key);
  Extend(batch.page_id, table.page_id);
  Extend(batch.request_time_ms, table.request_time_ms);
  Extend(batch.history_len, table.history_len);
  Extend(batch.split, table.split);
  Extend(batch.labels, table.labels);
  Extend(batch.labels_known, table.labels_known);
  table.p.insert(table.p.end(), p.begin(), p.end());
  for (size_t r = 0; r < batch.full.rows; ++r) {
    for (const std::vector<uint64_t>& slice : batch.slices) table.slice_values.push_back(slice[r]);
  }
}

}  // namespace grab
