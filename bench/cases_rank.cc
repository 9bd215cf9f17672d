// Ranking a request's candidates and appending an event, on one thread.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/bandwidth.h"
#include "bench/cases.h"
#include "bench/flops.h"
#include "bench/ours_rank.h"
#include "bench/peers.h"
#include "bench/sweep.h"
#include "model/forward.h"

namespace grab::bench {
namespace {

constexpr ProcessSettings kOurs = {1, 1, Allocator::kRaised};
constexpr int kChannels = 1;

std::string ModelWords(const Sizes& sizes) {
  return absl::StrCat(sizes.rank_events, " cached events, d ", sizes.d_model, ", ", sizes.layers,
                      " layers, ", sizes.heads, " heads, ffn ", sizes.ffn_hidden, ", ", kChannels,
                      " channel, 1 thread");
}

// What ranks without a cache: history and candidates in one pass, or the history again for every
// candidate; each by our batch forward and by ATen.
class Recompute {
 public:
  Recompute(const Sizes& sizes, const World& world, const Model& model, const UserBlock& block)
      : shared_(PackCandidates(world.spec, block, sizes.rank_events, 0, sizes.rank_candidates)),
        forward_(model, 1),
        aten_shared_(model, shared_) {
    for (int64_t i = 0; i < sizes.rank_sample; ++i) {
      single_.push_back(PackCandidates(world.spec, block, sizes.rank_events, i, i + 1));
    }
    for (const Batch& batch : single_) {
      aten_single_.push_back(std::make_unique<AtenRankPeer>(model, batch));
    }
  }
  Recompute(const Recompute&) = delete;

  const Batch& shared() const { return shared_; }
  void SharedForward() { Score(shared_); }
  void SharedAten() { aten_shared_.Logits(); }
  void FullForward() {  // of rank_sample candidates
    for (const Batch& batch : single_) Score(batch);
  }
  void FullAten() {
    for (const auto& peer : aten_single_) peer->Logits();
  }

 private:
  void Score(const Batch& batch) { GRAB_CHECK(forward_.Logits(batch).ok()); }

  Batch shared_;
  std::vector<Batch> single_;
  Forward forward_;
  AtenRankPeer aten_shared_;
  std::vector<std::unique_ptr<AtenRankPeer>> aten_single_;
};

// The fastest peer is the peer; all are reported.
void AddSpeedup(Context& context, const std::string& name, const std::vector<Series>& peers,
                const Series& ours, const std::string& conditions, const std::string& settings) {
  const auto fastest =
      std::min_element(peers.begin(), peers.end(), [](const Series& a, const Series& b) {
        return Summarise(a.values).median < Summarise(b.values).median;
      });
  context.Add(Ratio(name, *fastest, ours), conditions, {settings});
  for (const Series& peer : peers) context.Add(Single(peer), conditions, {settings});
}

}  // namespace

void RunRank(Context& context) {
  context.Section("Ranking");
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, kChannels, sizes.rank_events);
  const Model model = MakeModel(*world, kSeed);
  const UserBlock block = MakeRankUser(*world, sizes.rank_events, sizes.rank_candidates, kSeed);
  Recompute recompute(sizes, *world, model, block);
  OursRank f32(model, Precision::kF32, block, sizes.rank_events);
  OursRank cold(model, Precision::kF32, block, sizes.rank_events);
  OursRank bf16(model, Precision::kBf16, block, sizes.rank_events);
  OursRank int8(model, Precision::kInt8, block, sizes.rank_events);
  const Found found = FindBest("ATen ranking", Choices::OneThread(), [&](const Choice& choice) {
    return MakeSide("", choice.process, [&] { recompute.SharedAten(); }).run();
  });
  const ProcessSettings& aten = found.best.process;
  // Three turns-taking groups: what takes seconds a call would leave the short ones few rounds.
  const Side ours_side = MakeSide("f32", kOurs, [&] { f32.Score(); });
  const auto low = context.Interleave({
      context.Ceiling(GemmType::kF32, 1),
      ours_side,
      MakeSide("bf16", kOurs, [&] { bf16.Score(); }),
      MakeSide("int8", kOurs, [&] { int8.Score(); }),
  });
  const auto shared = context.Interleave({
      ours_side,
      MakeSide("shared, forward", kOurs, [&] { recompute.SharedForward(); }),
      MakeSide("shared, ATen", aten, [&] { recompute.SharedAten(); }),
      MakeSide("shared, engine", kOurs, [&] { cold.ScoreCold(); }),
  });
  auto full = context.Interleave({
      ours_side,
      MakeSide("full, forward", kOurs, [&] { recompute.FullForward(); }),
      MakeSide("full, ATen", aten, [&] { recompute.FullAten(); }),
  });
  const double times =
      static_cast<double>(sizes.rank_candidates) / static_cast<double>(sizes.rank_sample);
  for (const size_t side : {1u, 2u}) {
    for (double& value : full[side]) value *= times;
  }
  const std::string conditions =
      absl::StrCat(sizes.rank_candidates, " candidates, ", ModelWords(sizes));
  const auto ours = [](const std::vector<std::vector<double>>& seconds, size_t side) {
    return Milliseconds("ours f32", seconds[side]);
  };
  context.Add(PeakFraction("rank_peak_fraction",
                           CountFlops(world->spec, RankWork(recompute.shared())).Forward(), low[1],
                           context.CeilingFlops(GemmType::kF32, 1), low[0]),
              conditions);
  context.Add(Ratio("rank_bf16_speedup", ours(low, 1), Milliseconds("ours bf16", low[2])),
              conditions);
  context.Add(Ratio("rank_int8_speedup", ours(low, 1), Milliseconds("ours int8", low[3])),
              conditions);
  AddSpeedup(context, "rank_speedup_vs_shared_prefix_recompute",
             {Milliseconds("rank_shared_prefix_forward_ms", shared[1]),
              Milliseconds("rank_shared_prefix_aten_ms", shared[2]),
              Milliseconds("rank_shared_prefix_engine_ms", shared[3])},
             ours(shared, 0), conditions, found.summary);
  AddSpeedup(
      context, "rank_speedup_vs_full_recompute",
      {Milliseconds("rank_full_forward_ms", full[1]), Milliseconds("rank_full_aten_ms", full[2])},
      ours(full, 0),
      absl::StrCat(conditions, "; recompute timed on ", sizes.rank_sample, " candidates, times ",
                   times),
      found.summary);
}

// Against reading, once, the bytes that an append has to read: as warm in the caches as the append
// finds them, and from memory.
void RunAppend(Context& context) {
  context.Section("Ranking");
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, kChannels, sizes.rank_events);
  const Model model = MakeModel(*world, kSeed);
  const UserBlock block = MakeRankUser(*world, sizes.rank_events, 1, kSeed);
  OursRank ours(model, Precision::kF32, block, sizes.rank_events);
  const auto bytes = static_cast<int64_t>(AppendBytes(world->spec, sizes.rank_events));
  MemoryRead warm(bytes, 1, 1);
  MemoryRead memory(sizes.memory_bytes, 1, 1);
  auto seconds = context.Interleave({MakeSide("append", kOurs, [&] { ours.Append(); }),
                                     MakeSide("warm", kOurs, [&] { warm.Run(); }),
                                     MakeSide("memory", kOurs, [&] { memory.Run(); })});
  for (double& value : seconds[2]) value *= static_cast<double>(bytes) / memory.bytes();
  const std::string conditions = absl::StrCat("one event, ", ModelWords(sizes), ", f32, ", bytes,
                                              " bytes of weights, keys and values to read");
  const Series append = Microseconds("append_event_us", seconds[0]);
  context.Add(Single(append), conditions);
  context.Add(Ratio("append_event_cached_floor_fraction",
                    Microseconds("reading them again and again", seconds[1]), append),
              conditions);
  context.Add(Ratio("append_event_memory_floor_fraction",
                    Microseconds("reading them from memory", seconds[2]), append),
              conditions);
}

}  // namespace grab::bench
