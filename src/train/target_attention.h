// The models in which a candidate attends to chosen events of its history, in one step, each with
// the source of its idea (docs/zoo.md says what is simplified):
//   DIN   Zhou et al., KDD 2018, arXiv 1706.06978: the newest, by a unit that sees both
//   SIM   Pi et al., CIKM 2020, arXiv 2006.05639: also found ones, by field or by product
//   ETA   Chen et al., 2021, arXiv 2108.04468: found by SimHash
//   TWIN  Chang et al., KDD 2023, arXiv 2302.02352: found by the relevance that attention uses
// Tokens, tables and head are those of the other models.
#pragma once

#include <torch/types.h>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "kernels/matmul.h"
#include "model/spec.h"
#include "train/net_weights.h"

namespace grab {

struct Tokens {
  torch::Tensor slots;  // [rows, width]: what they are made of, of PoolTokens
  torch::Tensor token;  // [rows, d]
};

struct AttendedTarget {
  // What the head reads of every candidate [full rows, inputs * d]: its token, what it takes from
  // the newest events (weights recent.*), and of the models that search from those found (found.*).
  torch::Tensor inputs;
  // SIM's soft search (search.*) has no other gradient than that of a loss of its own, on these
  // logits [full rows, tasks]; undefined for the others.
  torch::Tensor search_logits;
};

AttendedTarget TargetAttention(const ModelSpec& spec, const NetWeights& w, Precision precision,
                               const Batch& batch, const BatchLookup& lookup, const Tokens& full,
                               const Tokens& partial);

}  // namespace grab
