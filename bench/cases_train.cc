// A whole training step, on two threads.
#include <optional>

#include "absl/strings/str_cat.h"
#include "bench/cases.h"
#include "bench/flops.h"
#include "bench/ours_train.h"
#include "bench/peers.h"
#include "bench/sweep.h"
#include "kernels/matmul.h"

namespace grab::bench {
namespace {

constexpr int kOursThreads = 2;  // workers; each runs libtorch's operators on one thread
constexpr ProcessSettings kOurs = {1, 1, Allocator::kRaised};
constexpr int kChannels = 2;

Found FindPadded(const World& world, const Batch& batch, int64_t segments) {
  Choices choices = Choices::TwoThreads();
  choices.users = {1, 4};
  // Micro-batches are alike, so settings are found on one: a step of all of them is long.
  std::unique_ptr<AtenTrainPeer> peer;
  int64_t users = 0;
  return FindBest("padded ATen step", choices, [&](const Choice& choice) {
    if (users != choice.users) {
      peer = std::make_unique<AtenTrainPeer>(world, batch, Layout{Layout::kPadded, choice.users},
                                             choice.users);
      users = choice.users;
    }
    const double seconds = MakeSide("", choice.process, [&] { peer->Step(); }).run();
    return seconds / static_cast<double>(std::min(users, segments));
  });
}

}  // namespace

void RunTrainStep(Context& context) {
  context.Section("Training");
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, kChannels, sizes.mix_longest);
  std::vector<int64_t> events = MixedLengths(sizes, kSeed);
  for (int64_t& length : events) length /= 2;
  const Batch batch = PackUsers(world->spec, MakeUsers(*world, events, kSeed));
  const auto segments = static_cast<int64_t>(events.size());

  const Found padded = FindPadded(*world, batch, segments);
  AtenTrainPeer by_padding(*world, batch, {Layout::kPadded, padded.best.users}, segments);
  AtenTrainPeer by_segment(*world, batch, {Layout::kSegments, 1}, segments);
  const Found packed =
      FindBest("ATen step per segment", Choices::TwoThreads(), [&](const Choice& choice) {
        return MakeSide("", choice.process, [&] { by_segment.Step(); }).run();
      });
  OursTrainStep ours(*world, batch, kOursThreads);
  std::vector<Side> sides = {
      context.Ceiling(GemmType::kF32, 2),
      MakeSide("ours", kOurs, [&] { ours.Step(); }),
      MakeSide("padded ATen", padded.best.process, [&] { by_padding.Step(); }),
      MakeSide("ATen per segment", packed.best.process, [&] { by_segment.Step(); }),
  };
  std::optional<OursTrainStep> bf16;
  if (Supported(Precision::kBf16)) {
    bf16.emplace(*world, batch, kOursThreads, Precision::kBf16);
    sides.push_back(MakeSide("ours bf16", kOurs, [&] { bf16->Step(); }));
  }
  const auto seconds = context.Interleave(sides);
  const std::string conditions = absl::StrCat(
      "d ", sizes.d_model, ", ", sizes.layers, " layers, ", sizes.heads, " heads, ffn ",
      sizes.ffn_hidden, ", ", kChannels, " channels with target mix, 11 slots of width ",
      sizes.embedding_dim, ", ", segments, " users, ", batch.partial.rows, " P and ",
      batch.full.rows, " F tokens, log-normal, median ", sizes.mix_median, ", longest ",
      sizes.mix_longest, " rows, f32, 2 threads");
  context.Add(
      PeakFraction("train_step_peak_fraction", CountFlops(world->spec, WorkOf(batch)).Training(),
                   seconds[1], context.CeilingFlops(GemmType::kF32, 2), seconds[0]),
      conditions);
  context.Add(Ratio("train_step_speedup_vs_padded_aten", Milliseconds("padded ATen", seconds[2]),
                    Milliseconds("ours", seconds[1])),
              conditions, {padded.summary});
  context.Add(Ratio("train_step_speedup_vs_segment_aten",
                    Milliseconds("ATen per segment", seconds[3]), Milliseconds("ours", seconds[1])),
              conditions, {packed.summary});
  if (!bf16.has_value()) return;
  context.Add(Ratio("train_step_bf16_speedup", Milliseconds("ours f32", seconds[1]),
                    Milliseconds("ours bf16", seconds[4])),
              conditions);
}

}  // namespace grab::bench
