// The attention layer alone, on one thread.
#include "absl/strings/str_cat.h"
#include "bench/cases.h"
#include "bench/flops.h"
#include "bench/ours_attention.h"
#include "bench/peers.h"
#include "bench/sweep.h"

namespace grab::bench {
namespace {

constexpr ProcessSettings kOurs = {1, 1, Allocator::kRaised};

std::string Shape(const Sizes& sizes) {
  return absl::StrCat(sizes.heads, " heads of ", sizes.head_width, ", ", sizes.buckets,
                      " position and time buckets, f32, 1 thread");
}

std::vector<int64_t> Halves(std::vector<int64_t> lengths) {
  for (int64_t& length : lengths) length /= 2;
  return lengths;
}

}  // namespace

void RunAttention(Context& context) {
  context.Section("Attention");
  const Sizes& sizes = context.sizes();
  const auto problem = MakeAttentionProblem(sizes, {sizes.attention_events}, kSeed);
  OursAttention ours(*problem);
  const auto seconds = context.Interleave({context.Ceiling(GemmType::kF32, 1),
                                           MakeSide("forward", kOurs, [&] { ours.Forward(); }),
                                           MakeSide("backward", kOurs, [&] { ours.Backward(); })});
  const double ceiling = context.CeilingFlops(GemmType::kF32, 1);
  const std::string conditions =
      absl::StrCat(sizes.attention_events, " P + ", sizes.attention_events,
                   " F rows, one segment, ", problem->pairs, " visible pairs, ", Shape(sizes));
  context.Add(PeakFraction("attention_forward_peak_fraction",
                           AttentionForwardFlops(problem->pairs, sizes.heads, sizes.head_width),
                           seconds[1], ceiling, seconds[0]),
              conditions);
  context.Add(PeakFraction("attention_backward_peak_fraction",
                           AttentionBackwardFlops(problem->pairs, sizes.heads, sizes.head_width),
                           seconds[2], ceiling, seconds[0]),
              conditions);
}

void RunAttentionPadded(Context& context) {
  context.Section("Attention");
  const Sizes& sizes = context.sizes();
  const std::vector<int64_t> events = Halves(MixedLengths(sizes, kSeed));
  const auto problem = MakeAttentionProblem(sizes, events, kSeed);
  const auto segments = static_cast<int64_t>(events.size());

  Choices choices = Choices::OneThread();
  choices.users = {1, 4};
  const Found padded = FindBest("padded ATen", choices, [&](const Choice& choice) {
    const int64_t sample = std::min(choice.users, segments);
    return AtenAttentionPeer(*problem, {Layout::kPadded, choice.users}, sample).Run() /
           static_cast<double>(sample);
  });
  AtenAttentionPeer by_segment(*problem, {Layout::kSegments, 1}, segments);
  const Found packed = FindBest("ATen per segment", Choices::OneThread(),
                                [&](const Choice&) { return by_segment.Run(); });

  AtenAttentionPeer by_padding(*problem, {Layout::kPadded, padded.best.users}, segments);
  OursAttention ours(*problem);
  const auto seconds = context.Interleave(
      {MakeSide("ours", kOurs,
                [&] {
                  ours.Forward();
                  ours.Backward();
                }),
       {"padded ATen", padded.best.process, [&] { return by_padding.Run(); }},
       {"ATen per segment", packed.best.process, [&] { return by_segment.Run(); }}});
  const std::string conditions = absl::StrCat(
      "forward + backward, ", segments, " segments, log-normal, median ", sizes.mix_median,
      " rows (half P, half F), longest ", sizes.mix_longest, ", ", Shape(sizes));
  context.Add(Ratio("attention_speedup_vs_padded_aten", Milliseconds("padded ATen", seconds[1]),
                    Milliseconds("ours", seconds[0])),
              conditions, {padded.summary});
  context.Add(Ratio("attention_speedup_vs_segment_aten",
                    Milliseconds("ATen per segment", seconds[2]), Milliseconds("ours", seconds[0])),
              conditions, {packed.summary});
}

}  // namespace grab::bench
