// Progressive evaluation: each pass over a growing log is scored before it is trained on, and what
// it scored is one line of a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/time_range.h"
#include "eval/line_chart.h"
#include "eval/report.h"

namespace grab {

// Metrics as eval/metrics.h defines them, over the labels that became final in the pass.
struct PassTask {
  std::string task;
  uint64_t rows = 0;  // with a label
  uint64_t positives = 0;
  std::optional<double> auc, logloss, ne, pcoc, gauc;
  std::string gauc_by;  // "page" or "user"
};

struct PassMetrics {
  TimeRange pass;
  uint64_t rows = 0;  // targets of the pass
  std::vector<PassTask> tasks;
};

PassMetrics MakePassMetrics(const TimeRange& pass, const EvalReport& report);

// Adds the pass to the JSON lines of `path`, in the order of time; a line of the same pass is
// replaced, so that a pass done again after a crash leaves the file that one run would leave. The
// file is replaced as a whole and durably. Errors: InvalidArgument for a pass that overlaps
// another; those of ReadPasses and of writing.
Status RecordPass(const std::string& path, const PassMetrics& metrics);

// The passes in the order of time; none where there is no file. Errors: DataLoss that names the
// line.
StatusOr<std::vector<PassMetrics>> ReadPasses(const std::string& path);

// A line per task over the ends of the passes, in days since the first began; a pass without the
// metric is a gap. PCOC has a dashed line at 1.
LineChart AucOverTime(const std::vector<PassMetrics>& passes);
LineChart PcocOverTime(const std::vector<PassMetrics>& passes);

}  // namespace grab
