// A real log replayed through a running server against offline evaluation.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "bench/result.h"
#include "bench/serving/cases.h"

namespace grab::bench {

// replay_max_abs_diff and replay_auc of KuaiRand's test days. The model is trained by `grab run`
// under options.work_dir unless it lies there. `source` holds configs/.
StatusOr<std::vector<Figure>> MeasureReplay(const ServingOptions& options,
                                            const std::string& source, const std::string& data_dir);

}  // namespace grab::bench
