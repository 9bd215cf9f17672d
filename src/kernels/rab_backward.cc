#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rab_backward.cc"
#include "hwy/foreach_target.h"
// Highway wants its own headers after foreach_target.
#include "kernels/rab_forward-inl.h"
#include "kernels/rab_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// Queries of a block: more than in the forward pass, since gradients of keys are read and written
// once per block. A multiple of every target's kTileRows.
constexpr int64_t kBackwardRows = 48;

// One tile of keys: operands in the layouts that the four products want, and gradients.
struct BackwardTile {
  BackwardTile(float* at, int64_t head_width, int64_t padded)
      : keys_transposed(at),
        values_transposed(keys_transposed + head_width * kTileKeys),
        keys(values_transposed + head_width * kTileKeys),
        d_keys(keys + kTileKeys * padded),
        d_values(d_keys + kTileKeys * padded) {}
  static int64_t Floats(int64_t head_width, int64_t padded) {
    return 2 * head_width * kTileKeys + 3 * kTileKeys * padded;
  }
  float* keys_transposed;    // [head_width][64], with the action bias
  float* values_transposed;  // [head_width][64]
  float* keys;               // [64][padded], with the action bias
  float* d_keys;             // [64][padded]
  float* d_values;           // [64][padded]
};

struct BackwardScratch {
  BackwardScratch(const RabShape& shape, Scratch& cutter)
      : padded(PaddedWidth(shape)),
        q(cutter.Take<float>(kBackwardRows * padded)),
        d_q(cutter.Take<float>(kBackwardRows * padded)),
        d_out(cutter.Take<float>(kBackwardRows * padded)),
        table(cutter.Take<float>(kBackwardRows * TableStride(shape))),
        d_table(cutter.Take<float>(kBackwardRows * TableStride(shape))),
        p(cutter.Take<float>(kBackwardRows * kScoreStride)),
        d_logit(cutter.Take<float>(kBackwardRows * kScoreStride)),
        runs(cutter.Take<QueryRuns>(kBackwardRows)),
        log2_sum(cutter.Take<float>(kBackwardRows)),
        mean(cutter.Take<float>(kBackwardRows)),
        bias(cutter.Take<float>(kTileRows * kBiasStride)),
        codebook(cutter.Take<float>(TableStride(shape) * padded)),
        d_codebook(cutter.Take<float>(TableStride(shape) * padded)) {}

  int64_t padded;     // head width, padded
  float* q;           // [rows][padded]
  float* d_q;         // [rows][padded]
  float* d_out;       // [rows][padded]
  float* table;       // [rows][table stride]
  float* d_table;     // [rows][table stride]
  float* p;           // [rows][64] probabilities of a tile
  float* d_logit;     // [rows][64] gradients of q . key, of a tile
  QueryRuns* runs;    // [rows]
  float* log2_sum;    // [rows] logarithm of the softmax denominator, to base 2
  float* mean;        // [rows] d_out . out
  float* bias;        // [group][bias stride]
  float* codebook;    // [table columns][padded], of a head
  float* d_codebook;  // [table columns][padded]
};

// One head of one segment.
struct HeadBackward {
  const RabProblem& problem;
  const RabSegment& segment;
  int64_t head;
  const float* out;
  const float* log_sum;
  const float* d_out;
  const RabGradients<float>& gradients;
  float* tiles;  // BackwardTile, one after another

  const RabShape& shape() const { return problem.shape; }
  size_t width() const { return static_cast<size_t>(problem.shape.head_width); }
  int64_t at() const { return head * problem.shape.head_width; }  // first column of the head
  int64_t row_width() const { return problem.shape.heads * problem.shape.head_width; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(problem.shape.head_width)); }
  BackwardTile Tile(int64_t t, int64_t padded) const {
    const int64_t floats = BackwardTile::Floats(shape().head_width, padded);
    return BackwardTile(tiles + t * floats, shape().head_width, padded);
  }
};

void PackTiles(const HeadBackward& head, int64_t padded) {
  const RabInputs<float>& in = head.problem.inputs;
  const size_t width = head.width();
  const auto stride = static_cast<size_t>(in.kv_stride);
  const float* actions =
      in.codebook_action + head.head * head.shape().action_classes * head.shape().head_width;
  for (int64_t begin = head.segment.key_begin; begin < head.segment.key_end; begin += kTileKeys) {
    const auto count =
        static_cast<size_t>(std::min<int64_t>(kTileKeys, head.segment.key_end - begin));
    const BackwardTile tile = head.Tile((begin - head.segment.key_begin) / kTileKeys, padded);
    if (count < kTileKeys) std::fill(tile.keys_transposed, tile.d_keys, 0.0f);
    std::fill(tile.d_keys, tile.d_values + kTileKeys * padded, 0.0f);
    const int64_t first = begin * in.kv_stride + head.at();
    PackRows(in.k + first, stride, width, static_cast<size_t>(padded), count,
             ActionBias{head.problem.visibility.key_action + begin, actions, width}, tile.keys);
    PackTransposed(tile.keys, static_cast<size_t>(padded), width, 0, count, tile.keys_transposed);
    PackTransposed(in.v + first, stride, width, 0, count, tile.values_transposed);
  }
}

// The gradient through a query's own key, and everything a block starts from.
void StartQuery(const HeadBackward& head, int64_t query, size_t r, BackwardScratch& s) {
  const RabShape& shape = head.shape();
  const RabInputs<float>& in = head.problem.inputs;
  const size_t width = head.width();
  const auto row = static_cast<int64_t>(r);
  const float* q = s.q + row * s.padded;
  const float* d_out = s.d_out + row * s.padded;
  float* d_table = s.d_table + row * TableStride(shape);
  const int64_t self = head.problem.visibility.self_key[query] * in.kv_stride + head.at();
  s.runs[r] = StartRuns(shape, head.problem.runs, query, head.problem.visibility.key_begin,
                        head.problem.visibility.key_end, head.segment.key_begin);
  s.log2_sum[r] = kLog2E * head.log_sum[query * shape.heads + head.head];
  s.mean[r] = DotRows(d_out, head.out + query * head.row_width() + head.at(), width);
  const float logit =
      DotRows(q, in.k + self, width) + s.table[row * TableStride(shape) + SelfColumn(shape)];
  const float p = std::exp2(kLog2E * head.scale() * logit - s.log2_sum[r]);
  const float d_logit = head.scale() * p * (DotRows(d_out, in.v + self, width) - s.mean[r]);
  std::fill_n(d_table, TableStride(shape), 0.0f);
  std::fill_n(s.d_q + row * s.padded, s.padded, 0.0f);
  d_table[SelfColumn(shape)] = d_logit;
  AddScaledRow(d_out, p, width, head.gradients.d_v + self);
  AddScaledRow(q, d_logit, width, head.gradients.d_k + self);
  AddScaledRow(in.k + self, d_logit, width, s.d_q + row * s.padded);
}

void StartBackwardBlock(const HeadBackward& head, int64_t row, size_t rows, BackwardScratch& s) {
  const RabShape& shape = head.shape();
  const RabInputs<float>& in = head.problem.inputs;
  const size_t width = head.width();
  const auto padded = static_cast<size_t>(s.padded);
  PackRows(in.q + row * in.q_stride + head.at(), static_cast<size_t>(in.q_stride), width, padded,
           rows, NoBias(), s.q);
  PackRows(head.d_out + row * head.row_width() + head.at(), static_cast<size_t>(head.row_width()),
           width, padded, rows, NoBias(), s.d_out);
  FillTables(shape, head.problem.codebooks + head.head * RabCodebookFloats(shape) / shape.heads,
             s.q, padded, rows, s.table);
  for (size_t r = 0; r < rows; ++r) StartQuery(head, row + static_cast<int64_t>(r), r, s);
}

// Scores become probabilities p = exp(logit - log_sum).
struct ProbabilityEpilogue {
  const float* bias;
  const float* log2_sum;
  float scale;  // of a logit, times log2(e)
  float* p;
  HWY_INLINE VF Begin(size_t, size_t) const { return hn::Zero(DF()); }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    const DF d;
    const VF add = hn::LoadU(d, bias + row * kBiasStride + column);
    const VF logit = hn::MulSub(hn::Add(sum, add), hn::Set(d, scale), hn::Set(d, log2_sum[row]));
    hn::StoreU(Exp2(logit), d, p + row * kScoreStride + column);
  }
};

// d_logit = scale p (d_out . v - d_out . out)
struct LogitGradientEpilogue {
  const float* p;
  const float* mean;
  float scale;
  float* d_logit;
  HWY_INLINE VF Begin(size_t, size_t) const { return hn::Zero(DF()); }
  HWY_INLINE void End(size_t row, size_t column, VF sum) const {
    const DF d;
    const VF weight = hn::Mul(hn::Set(d, scale), hn::LoadU(d, p + row * kScoreStride + column));
    hn::StoreU(hn::Mul(weight, hn::Sub(sum, hn::Set(d, mean[row]))), d,
               d_logit + row * kScoreStride + column);
  }
};

// Probabilities and gradients of the logits of rows [first, first + rows) with keys [from, to) of a
// tile, and what they add to the gradients of the tables.
void GroupGradients(const HeadBackward& head, const BackwardTile& tile, int32_t tile_begin,
                    size_t first, size_t rows, int32_t from, int32_t to, BackwardScratch& s) {
  const RabShape& shape = head.shape();
  const auto padded = static_cast<size_t>(s.padded);
  QueryRuns before[kTileRows];
  for (size_t r = 0; r < rows; ++r) {
    before[r] = s.runs[first + r];
    FillBias(shape, s.table + static_cast<int64_t>(first + r) * TableStride(shape), tile_begin,
             from, to, s.runs[first + r], s.bias + r * kBiasStride);
  }
  float* p = s.p + first * kScoreStride;
  float* d_logit = s.d_logit + first * kScoreStride;
  const auto lo = static_cast<size_t>(from);
  const auto hi = static_cast<size_t>(to);
  const Product<DotF32> scores = {s.q + first * padded, padded,    1,
                                  tile.keys_transposed, kTileKeys, head.width()};
  Multiply(scores, rows, lo, hi,
           ProbabilityEpilogue{s.bias, s.log2_sum + first, kLog2E * head.scale(), p});
  const Product<DotF32> d_p = {s.d_out + first * padded, padded,    1,
                               tile.values_transposed,   kTileKeys, head.width()};
  Multiply(d_p, rows, lo, hi, LogitGradientEpilogue{p, s.mean + first, head.scale(), d_logit});
  for (size_t r = 0; r < rows; ++r) {
    const int32_t begin = std::max(before[r].begin, tile_begin + from);
    const int32_t end = std::min(before[r].end, tile_begin + to);
    if (begin >= end) continue;
    const SumVisitor sum = {d_logit + r * kScoreStride,
                            s.d_table + static_cast<int64_t>(first + r) * TableStride(shape),
                            tile_begin};
    VisitRuns(shape, begin, end, before[r], sum);
  }
}

// Zeroes keys outside [from, to) of [lo, hi), for rows of a group that see fewer keys than the
// block.
void ClearOutside(size_t rows, int32_t lo, int32_t hi, int32_t from, int32_t to, float* values) {
  for (size_t r = 0; r < rows; ++r, values += kScoreStride) {
    std::fill(values + lo, values + std::max(lo, from), 0.0f);
    std::fill(values + std::max(lo, to), values + hi, 0.0f);
  }
}

void BackwardBlockTile(const HeadBackward& head, int64_t t, size_t rows, BackwardScratch& s) {
  const auto tile_begin = static_cast<int32_t>(t * kTileKeys);
  const BackwardTile tile = head.Tile(t, s.padded);
  const auto padded = static_cast<size_t>(s.padded);
  int32_t lo, hi;
  GroupRange(s.runs, 0, rows, tile_begin, &lo, &hi);
  if (lo == hi) return;
  for (size_t first = 0; first < rows; first += kTileRows) {
    const size_t group = std::min<size_t>(kTileRows, rows - first);
    int32_t from, to;
    GroupRange(s.runs, first, group, tile_begin, &from, &to);
    ClearOutside(group, lo, hi, from, to, s.p + first * kScoreStride);
    ClearOutside(group, lo, hi, from, to, s.d_logit + first * kScoreStride);
    if (from < to) GroupGradients(head, tile, tile_begin, first, group, from, to, s);
  }
  const auto keys = static_cast<size_t>(hi - lo);
  const auto skip = static_cast<size_t>(lo);
  const Product<DotF32> d_values = {s.p + skip, 1, kScoreStride, s.d_out, padded, rows};
  Multiply(d_values, keys, 0, padded, AddProduct{tile.d_values + skip * padded, padded});
  const Product<DotF32> d_keys = {s.d_logit + skip, 1, kScoreStride, s.q, padded, rows};
  Multiply(d_keys, keys, 0, padded, AddProduct{tile.d_keys + skip * padded, padded});
  const Product<DotF32> d_q = {s.d_logit + skip,          kScoreStride, 1,
                               tile.keys + skip * padded, padded,       keys};
  Multiply(d_q, rows, 0, padded, AddProduct{s.d_q, padded});
}

void FinishBackwardBlock(const HeadBackward& head, int64_t row, size_t rows, BackwardScratch& s) {
  const RabShape& shape = head.shape();
  const auto padded = static_cast<size_t>(s.padded);
  const auto stride = static_cast<size_t>(TableStride(shape));
  const auto columns = static_cast<size_t>(TableColumns(shape));
  const Product<DotF32> d_q = {s.d_table, stride, 1, s.codebook, padded, columns};
  Multiply(d_q, rows, 0, padded, AddProduct{s.d_q, padded});
  const Product<DotF32> d_codebook = {s.d_table, 1, stride, s.q, padded, rows};
  Multiply(d_codebook, columns, 0, padded, AddProduct{s.d_codebook, padded});
  for (size_t r = 0; r < rows; ++r) {
    const int64_t query = row + static_cast<int64_t>(r);
    AddScaledRow(s.d_q + r * padded, 1.0f, head.width(),
                 head.gradients.d_q + query * head.problem.inputs.q_stride + head.at());
  }
}

void BackwardRows(const HeadBackward& head, int64_t row_begin, int64_t row_end,
                  BackwardScratch& s) {
  for (int64_t row = row_begin; row < row_end; row += kBackwardRows) {
    const auto rows = static_cast<size_t>(std::min(kBackwardRows, row_end - row));
    StartBackwardBlock(head, row, rows, s);
    int32_t begin, end;
    VisibleKeys(s.runs, rows, &begin, &end);
    for (int64_t t = begin / kTileKeys; t * kTileKeys < end; ++t) {
      BackwardBlockTile(head, t, rows, s);
    }
    FinishBackwardBlock(head, row, rows, s);
  }
}

// Gradients of a segment's keys, values and actions from its tiles.
void FinishTiles(const HeadBackward& head, int64_t padded) {
  const RabGradients<float>& gradients = head.gradients;
  const size_t width = head.width();
  float* d_action = gradients.d_codebook_action +
                    head.head * head.shape().action_classes * head.shape().head_width;
  for (int64_t j = head.segment.key_begin; j < head.segment.key_end; ++j) {
    const int64_t local = j - head.segment.key_begin;
    const BackwardTile tile = head.Tile(local / kTileKeys, padded);
    const float* d_key = tile.d_keys + local % kTileKeys * padded;
    const int64_t to = j * head.problem.inputs.kv_stride + head.at();
    AddScaledRow(d_key, 1.0f, width, gradients.d_k + to);
    AddScaledRow(d_key, 1.0f, width,
                 d_action + head.problem.visibility.key_action[j] * head.shape().head_width);
    AddScaledRow(tile.d_values + local % kTileKeys * padded, 1.0f, width, gradients.d_v + to);
  }
}

// The codebooks of a head in the order of the table's columns, and the way back for their
// gradients.
template <class Visit>
void VisitCodebooks(const RabShape& shape, int64_t head, const Visit& visit) {
  const int64_t width = shape.head_width;
  for (int64_t b = 1; b < shape.position_buckets; ++b) {
    visit(PositionColumn(shape, b), 0, (head * shape.position_buckets + b) * width);
  }
  for (int64_t b = 1; b < shape.time_buckets; ++b) {
    visit(TimeColumn(shape, b), 1, (head * shape.time_buckets + b) * width);
  }
  const int64_t self = SelfColumn(shape);
  visit(self, 0, head * shape.position_buckets * width);
  visit(self, 1, head * shape.time_buckets * width);
  visit(self, 2, ((head + 1) * shape.action_classes - 1) * width);
}

void StartHead(const RabProblem& problem, int64_t head, BackwardScratch& s) {
  const RabShape& shape = problem.shape;
  const float* books[] = {problem.inputs.codebook_position, problem.inputs.codebook_time,
                          problem.inputs.codebook_action};
  std::fill_n(s.codebook, TableStride(shape) * s.padded, 0.0f);
  std::fill_n(s.d_codebook, TableStride(shape) * s.padded, 0.0f);
  VisitCodebooks(shape, head, [&](int64_t column, int book, int64_t at) {
    AddScaledRow(books[book] + at, 1.0f, static_cast<size_t>(shape.head_width),
                 s.codebook + column * s.padded);
  });
}

void FinishHead(const RabProblem& problem, int64_t head, const RabGradients<float>& gradients,
                BackwardScratch& s) {
  float* books[] = {gradients.d_codebook_position, gradients.d_codebook_time,
                    gradients.d_codebook_action};
  VisitCodebooks(problem.shape, head, [&](int64_t column, int book, int64_t at) {
    AddScaledRow(s.d_codebook + column * s.padded, 1.0f,
                 static_cast<size_t>(problem.shape.head_width), books[book] + at);
  });
}

void BackwardTraining(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                      int64_t head_begin, int64_t head_end, const float* out, const float* log_sum,
                      const float* d_out, const RabGradients<float>& gradients, void* scratch) {
  Scratch cutter(static_cast<float*>(scratch));
  BackwardScratch s(problem.shape, cutter);
  auto* tiles = cutter.Take<float>(0);
  for (int64_t h = head_begin; h < head_end; ++h) {
    StartHead(problem, h, s);
    for (int64_t i = segment_begin; i < segment_end; ++i) {
      const HeadBackward head = {problem, problem.segments[i], h,    out, log_sum,
                                 d_out,   gradients,           tiles};
      PackTiles(head, s.padded);
      for (int part = 0; part < 2; ++part) {
        BackwardRows(head, head.segment.query_begin[part], head.segment.query_end[part], s);
      }
      FinishTiles(head, s.padded);
    }
    FinishHead(problem, h, gradients, s);
  }
}

size_t BackwardScratchBytes(const RabShape& shape, int64_t segment_keys_max) {
  Scratch cutter(nullptr);
  BackwardScratch s(shape, cutter);
  cutter.Take<float>(RoundUp(segment_keys_max, kTileKeys) / kTileKeys *
                     BackwardTile::Floats(shape.head_width, s.padded));
  return static_cast<size_t>(cutter.size()) * sizeof(float);
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(BackwardTraining);
HWY_EXPORT(BackwardScratchBytes);

size_t RabBackwardScratchBytes(const RabShape& shape, int64_t segment_keys_max) {
  return HWY_DYNAMIC_DISPATCH(BackwardScratchBytes)(shape, segment_keys_max);
}

void RabBackward(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                 int64_t head_begin, int64_t head_end, const float* out, const float* log_sum,
                 const float* d_out, const RabGradients<float>& gradients, void* scratch) {
  HWY_DYNAMIC_DISPATCH(BackwardTraining)
  (problem, segment_begin, segment_end, head_begin, head_end, out, log_sum, d_out, gradients,
   scratch);
}

}  // namespace grab
#endif
