// Features of targets out of one pass over all events by time.
//
// A target with request time r reads what was known strictly before r: an exposure counts from its
// known time on, a label of a task from when it is final (LabelFinalMs), and a label that is not
// known never. An event that is a candidate only (EventColumns::history) is not counted. Events of
// one time do not see each other. The counts run on through validation and test days, as those of a
// system in production do.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/status.h"
#include "trees/event_log.h"
#include "trees/feature_plan.h"
#include "trees/memory_budget.h"

namespace grab {

// Bytes that RunningFeatures takes beside its result.
double CountBytes(const EventLog& log, const FeaturePlan& plan);

// [targets][plan.columns()], NaN = missing, for `targets`: events of the log, in any order. Nothing
// known at or after `until_ms` counts.
std::vector<float> RunningFeatures(const EventLog& log, const FeaturePlan& plan,
                                   const std::vector<uint32_t>& targets,
                                   int64_t until_ms = std::numeric_limits<int64_t>::max());

}  // namespace grab
