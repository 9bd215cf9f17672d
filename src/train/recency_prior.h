// Which history attention prefers before it has learnt anything.
#pragma once

#include "model/spec.h"
#include "train/net_weights.h"

namespace grab {

// Changes the initial weights of a GRAB model so that every query of head h of H starts with the
// attention bias -slope h / (H - 1) ln(distance) on an event so many tokens back (one head: the
// whole slope). Slopes by head are ALiBi's (arXiv 2108.12409), where they are fixed and linear in
// the distance; here training goes on from them. A bias that all queries share is the product of
// the queries' own bias and a codebook (DESIGN 3.3), and learnt slowly where both start near 0: so
// query biases start at 1, which lets the codebook say it alone.
void PreferRecent(const ModelSpec& spec, double slope, const NetWeights& weights);

}  // namespace grab
