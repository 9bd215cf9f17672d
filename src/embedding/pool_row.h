// Embeddings of one token straight from the tables: what serving reads, where a batch's unique rows
// (embedding/lookup.h) would cost more than they save.
#pragma once

#include <vector>

#include "embedding/table.h"
#include "tokens/token_spec.h"
#include "tokens/tokeniser.h"

namespace grab {

// The concatenated slot vectors of row `row` of `view`, into out [width of the view]; the same sums
// in the same order as a Lookup and EmbeddingPoolForward. Keys without a row read the unknown row.
// Allocates nothing.
void PoolRow(const TokenSpec& spec, const std::vector<EmbeddingTable>& tables,
             const TokenColumns& view, uint32_t row, float* out);

}  // namespace grab
