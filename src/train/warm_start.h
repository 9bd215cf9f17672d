// A run that begins with what another one learned: tables and representation layer of a DLRM, or a
// pre-trained GRAB (DESIGN 4, "Warm start and dual loss").
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/spec.h"
#include "train/run_state.h"

namespace grab {

struct WarmStartReport {
  std::string source;                // the checkpoint it was read from
  std::vector<std::string> loaded;   // tensors and tables taken as they are
  std::vector<std::string> resized;  // taken in part, each with what was taken
  std::vector<std::string> missing;  // of this run, not in the source: newly initialised
  std::vector<std::string> unused;   // of the source, not in this run
  std::vector<std::string> skipped;  // newer checkpoints that are damaged, each with the reason
};

nlohmann::json ToJson(const WarmStartReport& report);

// Fills `state`, which is new, from the run folder (its best checkpoint) or checkpoint at `path`.
//   tables      by name: all rows; of another width the first columns; optimiser state where the
//               source has it of the same kind and width, else as new
//   weights     by name and shape; a tokenizer's first layers are matched slot by slot, so that
//               fields may be added or dropped; a partial tokenizer that the source lacks starts as
//               its full one does; a DLRM's head becomes the base head, if the run has one
StatusOr<WarmStartReport> WarmStart(const std::string& path, const ModelSpec& spec,
                                    RunState& state);

}  // namespace grab
