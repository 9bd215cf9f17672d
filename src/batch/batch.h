// A packed batch: segments of users concatenated, offsets instead of padding (DESIGN 4, "Packing").
// A user's partial tokens stand once, whatever the number of its targets.
//
// Rows of a channel, for the kernels: keys are its partial rows in segment order, followed by the
// full rows of the batch (a full token is replicated into every channel).
#pragma once

#include <cstdint>
#include <vector>

#include "data/timeline.h"
#include "tokens/tokeniser.h"

namespace grab {

struct ChannelBatch {
  std::vector<uint32_t> token;            // partial rows: row of Batch::partial
  std::vector<uint32_t> segment_offsets;  // segments + 1, into partial rows
  std::vector<int64_t> key_time_ms;       // partial rows: known time
  std::vector<int32_t> key_action;        // partial rows: action class (tokens/token_spec.h)
  std::vector<int32_t> partial_begin;  // partial rows: history is [begin, row) of the partial rows
  std::vector<int32_t> full_begin;     // full rows: history is [begin, end) of the partial rows
  std::vector<int32_t> full_end;
};

struct Batch {
  TokenColumns partial;
  TokenColumns full;
  std::vector<ChannelBatch> channels;
  std::vector<uint32_t> partial_offsets;  // segments + 1, into the rows of `partial`
  std::vector<uint32_t> full_offsets;     // segments + 1, into the rows of `full`

  // Full rows.
  std::vector<int64_t> request_time_ms;
  std::vector<uint32_t> labels;
  std::vector<uint32_t> labels_known;
  std::vector<uint64_t> event_id;
  std::vector<uint64_t> user_key;
  std::vector<uint64_t> page_id;
  std::vector<float> value;  // of the builder's value field, NaN = missing; empty without one
  std::vector<Split> split;
  std::vector<uint32_t> history_len;          // the user's events known strictly before the request
  std::vector<std::vector<uint64_t>> slices;  // per sliced field: its key

  uint64_t tokens() const;  // what a batch's budget counts: partial and full rows of all channels
};

}  // namespace grab
