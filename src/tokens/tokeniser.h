// Events to token columns: for every slot of a view, the (key, weight) pairs of each row, or its
// dense vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "data/timeline.h"
#include "tokens/token_spec.h"

namespace grab {

enum class TokenView : uint8_t { kPartial, kFull };

// One slot over the rows of a batch.
struct SlotColumn {
  std::vector<uint32_t> offsets;  // sparse: rows + 1, into keys and weights
  std::vector<uint64_t> keys;     // never 0
  std::vector<float> weights;     // pooling is a plain weighted sum: a mean is folded in here
  std::vector<float> dense;       // dense: rows x width
};

// Rows of one view. `columns[i]` belongs to TokenSpec::slots[slots[i]].
struct TokenColumns {
  std::vector<int> slots;
  std::vector<SlotColumn> columns;
  uint32_t rows = 0;
};

// Takes all rows out, and keeps the memory.
void Clear(TokenColumns& columns);

// Appends events to the columns of one view. The spec must outlive it.
class Tokeniser {
 public:
  Tokeniser(const TokenSpec& spec, TokenView view);

  TokenColumns Empty() const;
  void Append(const EventColumns& events, size_t index, TokenColumns& out) const;

 private:
  void AppendPairs(const TokenSlot& slot, const EventColumns& events, size_t index,
                   SlotColumn& column) const;
  const TokenSpec& spec_;
  std::vector<int> slots_;
};

}  // namespace grab
