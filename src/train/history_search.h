// What a candidate attends to in DIN, SIM, ETA and TWIN: events chosen from the window that it may
// see. Choosing has no gradient.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/spec.h"

namespace grab {

// Pairs of a candidate and an event of its history, by candidate, then from old to new.
struct HistoryPairs {
  std::vector<int64_t> candidate;    // row of Batch::full
  std::vector<int64_t> event;        // row of Batch::partial
  std::vector<int64_t> time_bucket;  // of the event's age at the request (kernels/rab_buckets.h)
  std::vector<int64_t> action;       // class of the event's feedback

  int64_t size() const { return static_cast<int64_t>(candidate.size()); }
};

// The newest `spec.search.recent`.
HistoryPairs NewestEvents(const ModelSpec& spec, const Batch& batch);

// SIM, hard search: the newest `spec.search.found` that share the value of the search slot with the
// candidate. A value without a row is shared with nobody.
HistoryPairs SharingEvents(const ModelSpec& spec, const Batch& batch, const BatchLookup& lookup);

// SIM, soft search: those with the largest product of query [full rows, d] and key [partial rows,
// d]. Of equal ones the newest, here and below.
HistoryPairs LargestProducts(const ModelSpec& spec, const Batch& batch, const torch::Tensor& query,
                             const torch::Tensor& key);

// TWIN: those with the largest logits of the attention that will read them, in the mean over its
// heads: product / sqrt(head width) + time [heads, buckets, 1] + action [heads, classes, 1].
HistoryPairs LargestLogits(const ModelSpec& spec, const Batch& batch, const torch::Tensor& query,
                           const torch::Tensor& key, const torch::Tensor& time,
                           const torch::Tensor& action);

// ETA: those whose SimHash differs least from the candidate's. Bit i says on which side of a fixed
// random plane the embeddings lie of the fields that events and candidates both have. `full` [full
// rows, *], `partial` [partial rows, *]: of PoolTokens.
HistoryPairs NearestHashes(const ModelSpec& spec, const Batch& batch, const torch::Tensor& full,
                           const torch::Tensor& partial);

}  // namespace grab
