#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rab_forward.cc"
#include "hwy/foreach_target.h"
// Highway wants its own headers after foreach_target.
#include "kernels/rab_forward-inl.h"
#include "kernels/rab_pack-inl.h"
#include "kernels/simd_target.h"

HWY_BEFORE_NAMESPACE();
namespace grab {
namespace HWY_NAMESPACE {

// One head of a segment's keys and values as tiles; `rows` is scratch for one tile of keys.
void PackSegment(const RabProblem& problem, const TileLayout& layout, const RabSegment& segment,
                 int64_t head, float* rows, uint32_t* tiles) {
  const RabShape& shape = problem.shape;
  const RabInputs<float>& in = problem.inputs;
  const auto width = static_cast<size_t>(shape.head_width);
  const auto padded = static_cast<size_t>(layout.width);
  const auto stride = static_cast<size_t>(in.kv_stride);
  const float* actions = in.codebook_action + head * shape.action_classes * shape.head_width;
  for (int64_t begin = segment.key_begin; begin < segment.key_end; begin += kTileKeys) {
    const auto count = static_cast<size_t>(std::min<int64_t>(kTileKeys, segment.key_end - begin));
    auto* tile = reinterpret_cast<float*>(tiles);
    // The keys that are missing from the last tile take part with probability 0.
    if (count < kTileKeys) std::fill(tile, tile + layout.head_words, 0.0f);
    const int64_t first = begin * in.kv_stride + head * shape.head_width;
    PackRows(in.k + first, stride, width, padded, count,
             ActionBias{problem.visibility.key_action + begin, actions, width}, rows);
    PackTransposed(rows, padded, width, 0, count, tile);
    PackRows(in.v + first, stride, width, padded, count, NoBias(), tile + layout.values);
    tiles += layout.head_words;
  }
}

void ForwardTraining(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                     int64_t head_begin, int64_t head_end, float* out, float* log_sum,
                     void* scratch) {
  const RabShape& shape = problem.shape;
  const RabInputs<float>& in = problem.inputs;
  const TileLayout layout(shape, Precision::kF32);
  Scratch cutter(static_cast<float*>(scratch));
  ForwardScratch s(shape, layout, cutter);
  auto* rows = cutter.Take<float>(kTileKeys * layout.width);
  auto* packed = cutter.Take<uint32_t>(0);
  for (int64_t i = segment_begin; i < segment_end; ++i) {
    const RabSegment& segment = problem.segments[i];
    for (int64_t h = head_begin; h < head_end; ++h) {
      PackSegment(problem, layout, segment, h, rows, packed);
      const int64_t at = h * shape.head_width;
      const HeadForward head = {shape,
                                layout,
                                problem.runs,
                                problem.visibility.key_begin,
                                problem.visibility.key_end,
                                problem.visibility.self_key,
                                segment.key_begin,
                                in.q + at,
                                static_cast<size_t>(in.q_stride),
                                in.k + at,
                                in.v + at,
                                static_cast<size_t>(in.kv_stride),
                                problem.codebooks + h * RabCodebookFloats(shape) / shape.heads,
                                out + at,
                                static_cast<size_t>(shape.heads * shape.head_width),
                                log_sum == nullptr ? nullptr : log_sum + h,
                                nullptr,
                                0,
                                packed};
      for (int part = 0; part < 2; ++part) {
        ForwardRows<KeysF32>(head, segment.query_begin[part], segment.query_end[part], s);
      }
    }
  }
}

template <class Keys>
void TiledHeads(const RabTiledProblem& problem, int64_t query_begin, int64_t query_end,
                int64_t head_begin, int64_t head_end, float* out, int64_t out_stride,
                void* scratch) {
  const RabShape& shape = problem.shape;
  const TileLayout layout(shape, problem.format);
  Scratch cutter(static_cast<float*>(scratch));
  ForwardScratch s(shape, layout, cutter);
  for (int64_t h = head_begin; h < head_end; ++h) {
    const int64_t at = h * shape.head_width;
    const HeadForward head = {shape,
                              layout,
                              problem.runs,
                              problem.key_begin,
                              problem.key_end,
                              nullptr,
                              0,
                              problem.q + at,
                              static_cast<size_t>(problem.q_stride),
                              problem.self_k + at,
                              problem.self_v + at,
                              static_cast<size_t>(problem.self_stride),
                              problem.codebooks + h * RabCodebookFloats(shape) / shape.heads,
                              out + at,
                              static_cast<size_t>(out_stride),
                              nullptr,
                              problem.tiles,
                              static_cast<size_t>(h * layout.head_words),
                              nullptr};
    ForwardRows<Keys>(head, query_begin, query_end, s);
  }
}

void ForwardTiled(const RabTiledProblem& problem, bool dot_instructions, int64_t query_begin,
                  int64_t query_end, int64_t head_begin, int64_t head_end, float* out,
                  int64_t out_stride, void* scratch) {
  const auto run = [&](auto keys) {
    TiledHeads<decltype(keys)>(problem, query_begin, query_end, head_begin, head_end, out,
                               out_stride, scratch);
  };
  switch (problem.format) {
    case Precision::kF32:
      return run(KeysF32());
    case Precision::kBf16:
      return dot_instructions ? run(KeysBf16<DotBf16Native>()) : run(KeysBf16<DotBf16>());
    case Precision::kInt8:
      return dot_instructions ? run(KeysInt8<DotInt8Native>()) : run(KeysInt8<DotInt8>());
  }
}

size_t ForwardScratchBytes(const RabShape& shape, Precision format, int64_t packed_keys) {
  const TileLayout layout(shape, format);
  Scratch cutter(nullptr);
  ForwardScratch s(shape, layout, cutter);
  if (packed_keys >= 0) {
    cutter.Take<float>(kTileKeys * layout.width);
    cutter.Take<uint32_t>(RoundUp(packed_keys, kTileKeys) / kTileKeys * layout.head_words);
  }
  return static_cast<size_t>(cutter.size()) * sizeof(float);
}

}  // namespace HWY_NAMESPACE
}  // namespace grab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grab {

HWY_EXPORT(ForwardTraining);
HWY_EXPORT(ForwardTiled);
HWY_EXPORT(ForwardScratchBytes);

size_t RabForwardScratchBytes(const RabShape& shape, int64_t segment_keys_max) {
  return HWY_DYNAMIC_DISPATCH(ForwardScratchBytes)(shape, Precision::kF32, segment_keys_max);
}

void RabForward(const RabProblem& problem, int64_t segment_begin, int64_t segment_end,
                int64_t head_begin, int64_t head_end, float* out, float* log_sum, void* scratch) {
  HWY_DYNAMIC_DISPATCH(ForwardTraining)
  (problem, segment_begin, segment_end, head_begin, head_end, out, log_sum, scratch);
}

size_t RabTiledScratchBytes(const RabShape& shape, Precision format) {
  return HWY_DYNAMIC_DISPATCH(ForwardScratchBytes)(shape, format, -1);
}

void RabTiledForward(const RabTiledProblem& problem, int64_t query_begin, int64_t query_end,
                     int64_t head_begin, int64_t head_end, float* out, int64_t out_stride,
                     void* scratch) {
  HWY_DYNAMIC_DISPATCH(ForwardTiled)
  (problem, HasDotInstructions(), query_begin, query_end, head_begin, head_end, out, out_stride,
   scratch);
}

}  // namespace grab
#endif
