// Models for serving, released while training goes on (docs/formats/checkpoint.md, "Releases"): a
// folder releases/step-N that appears whole, with the model alone. A full release is what `grab
// export` writes; a delta holds all dense weights but only those embedding rows that changed since
// the release before it, and the keys that lost theirs.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "model/spec.h"
#include "train/run_state.h"

namespace grab {

// Writes the release of state.counters.step into `dir`, ends the tables' period of changes and
// removes all but the newest `kept` releases and those they build on. A delta where nothing can be
// built on is a full release. One that is there already is of the same state and stays. Returns its
// folder.
StatusOr<std::string> WriteRelease(RunState& state, const ModelSpec& spec, bool full, int64_t kept,
                                   const std::string& dir);

}  // namespace grab
