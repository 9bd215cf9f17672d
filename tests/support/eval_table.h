// Random score tables for the tests of src/eval.
#pragma once

#include <string>

#include "base/rng.h"
#include "eval/scores.h"

namespace grab {

// Event ids ascend from 1; about half of the labels are known; p has all 24 bits of a float.
inline ScoreTable RandomScoreTable(size_t rows, size_t tasks, size_t slices, uint64_t seed) {
  Rng rng(seed);
  ScoreTable table;
  for (size_t t = 0; t < tasks; ++t) table.tasks.push_back(absl::StrCat("task", t));
  for (size_t s = 0; s < slices; ++s) table.slices.push_back(absl::StrCat("slice", s));
  const uint32_t mask = (1u << tasks) - 1;
  for (size_t i = 0; i < rows; ++i) {
    table.event_id.push_back(i + 1);
    table.user_key.push_back(rng.Next());
    table.page_id.push_back(rng.Below(3));
    table.request_time_ms.push_back(static_cast<int64_t>(1650816000000 + rng.Below(1000000)));
    table.history_len.push_back(static_cast<uint32_t>(rng.Below(200)));
    table.split.push_back(static_cast<Split>(rng.Below(4)));
    table.labels_known.push_back(static_cast<uint32_t>(rng.Next()) & mask);
    table.labels.push_back(static_cast<uint32_t>(rng.Next()) & table.labels_known.back());
    for (size_t t = 0; t < tasks; ++t) {
      table.p.push_back(static_cast<float>(rng.Next() >> 40) * 0x1.0p-24f);
    }
    for (size_t s = 0; s < slices; ++s) table.slice_values.push_back(rng.Below(5));
  }
  return table;
}

}  // namespace grab
