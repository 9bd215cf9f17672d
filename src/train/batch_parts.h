// A batch dealt out to workers by whole segments: segments never see each other, so the parts can
// be trained side by side and their gradients added.
#pragma once

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/spec.h"

namespace grab {

struct BatchPart {
  // What a forward and the losses read: token columns without their keys, channels, request times,
  // pages, values and labels. The rest is empty.
  Batch batch;
  BatchLookup lookup;               // places in the whole batch's unique rows; has none of its own
  std::vector<uint32_t> full_rows;  // of the whole batch, in the order of the part's
};

// At most `parts` parts, none empty, of nearly equal work: segments are dealt largest first to the
// part that has least. Depends only on the arguments.
std::vector<BatchPart> SplitBatch(const ModelSpec& spec, const Batch& batch,
                                  const BatchLookup& lookup, int parts);

}  // namespace grab
