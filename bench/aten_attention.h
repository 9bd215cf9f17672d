// RAB attention as a PyTorch user writes it: rows padded to a rectangle, buckets and mask of every
// pair as tensors, the query-aware bias gathered to rows x rows per head, masked softmax, matmul.
#pragma once

#include <torch/types.h>

#include <vector>

#include "batch/batch.h"
#include "model/spec.h"

namespace grab::bench {

// Some users, each padded to `partial` P rows and `full` F rows. P rows of all rectangles stand
// before the F rows of all; a rectangle's rows stand together, user by user.
struct Rectangle {
  int64_t users = 0, partial = 0, full = 0;
  int64_t partial_begin = 0, full_begin = 0;  // rows before it, among P rows and among F rows
  torch::Tensor key_begin, key_end;           // [users, partial + full], into the user's own P rows
  torch::Tensor query_time_ms;                // [users, partial + full]
  torch::Tensor key_time_ms;                  // [users, partial + full]; F rows: 0
  torch::Tensor key_action;                   // [users, partial + full]; F rows: 0

  int64_t rows() const { return partial + full; }
};

// The rows of a channel, padded.
struct PaddedChannel {
  std::vector<Rectangle> rectangles;
  int64_t partial_rows = 0, full_rows = 0;
  // Row of the channel (P rows, then F rows of the batch) of every padded row; -1: padding.
  std::vector<int64_t> row_of;
};

// How users are laid out.
struct Layout {
  enum Kind {
    kPadded,    // rectangles of `users` users, padded to the longest of the whole batch
    kSegments,  // one rectangle per user, no padding
  } kind = kPadded;
  int64_t users = 1;
};

// Rows of every user (segment) of a batch.
struct Segments {
  explicit Segments(const Batch& batch);
  int64_t size() const { return static_cast<int64_t>(full.size()) - 1; }
  std::vector<int64_t> full;     // size + 1 offsets into F rows
  std::vector<int64_t> partial;  // size + 1 offsets into P tokens
};

// Of segments [begin, end).
PaddedChannel MakeChannel(const Batch& batch, const Segments& segments, size_t channel,
                          const Layout& layout, int64_t begin, int64_t end);

// Buckets and visibility of every pair of a rectangle: [users, 1, rows, rows].
struct Pairs {
  torch::Tensor visible, position, time, action;
};

// Tables of a channel as tensors.
class PairMaker {
 public:
  PairMaker(const ModelSpec& spec, size_t channel);
  Pairs Make(const Rectangle& rectangle) const;

 private:
  torch::Tensor position_bucket_, time_bound_ms_;
  int64_t self_action_;
};

struct Codebooks {
  torch::Tensor position, time, action;  // [heads, buckets, head_width]
};

// q [users, queries, d], the last `queries` rows of each user; kv [users, rows, 2 d].
// Returns [users, queries, d].
torch::Tensor AtenAttention(const Pairs& pairs, const torch::Tensor& q, const torch::Tensor& kv,
                            const Codebooks& codebooks);

// All rectangles of a channel: q [queries, d] and kv [rows, 2 d] in padded rows, `pairs` one per
// rectangle; queries are all rows or only the F rows.
torch::Tensor AtenAttention(const PaddedChannel& channel, const std::vector<Pairs>& pairs,
                            const torch::Tensor& q, const torch::Tensor& kv,
                            const Codebooks& codebooks);

}  // namespace grab::bench
