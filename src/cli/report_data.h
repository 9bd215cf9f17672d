// Everything that the page of `grab report` shows, read from the folder of a finished `grab
// compare` and reduced to a bounded number of points.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/progress.h"
#include "base/status.h"

namespace grab {

inline constexpr size_t kSlicedFieldsShownMax = 8;
inline constexpr size_t kColdFieldsShownMax = 4;

// {"comparison": comparison.json,
//  "scale": of report_scale.h, if `grab scale` wrote the folder,
//  "name": of the data set, "task": the main task,
//  "history": {"labels": [S], "rows": [S], "series": [{"model", "values": [S or null]}]},
//  "over_time": {"begin_ms": [B], "rows": [B], "series": [...]},
//  "calibration": [{"model", "points": [{"p", "rate", "rows"}]}],
//  "pcoc": [{"field", "labels", "rows", "series"}],
//  "training": [{"model", "seed", "loss": [[rows, loss]], "valid_auc": [[rows, AUC]]}],
//  "attention": what is shown of attention.json (report_attention.h),
//  "data": {"users", "events", "targets": [4], "users_by_events": [{"from", "to", "users"}],
//           "time": {"begin_ms": [T], "series": [{"task", "values", "rows"}]}, "test_rows",
//           "new_user_rows", "no_history_rows", "fields": [{"field", "cold_rows" or null}]},
//  "notes": [{"sections", "text"}]}
//
// Values of models are means over their seeds. What a run or the folder lacks is a note of the
// sections that would show it, and they are made without it, or absent. Without
// comparison.json the error is a NotFound; files that are there must be whole, of the same test
// rows, and as grab writes them.
StatusOr<nlohmann::json> ReadReport(const std::string& dir, Progress& progress);

}  // namespace grab
