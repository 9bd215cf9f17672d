// The scale.json of `grab scale`, as `grab report` draws it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/status.h"

namespace grab {

inline constexpr size_t kScaleModelsMax = 64;
inline constexpr size_t kScalePointsMax = 1000;  // per model

// {"along", "series": [{"model", "points": [{"value", "auc", "sd", "seeds"}]}]}; seeds is a number,
// AUC and deviation may be null. A file that is not as grab writes it is a DataLoss that names file
// and member.
StatusOr<nlohmann::json> ReadScaling(const std::string& path);

}  // namespace grab
