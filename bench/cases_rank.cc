// Ranking a request's candidates, on one thread.
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/cases.h"
#include "bench/peers.h"
#include "bench/sweep.h"
#include "model/forward.h"

namespace grab::bench {

// Without a cache: history and all candidates in one pass, and the history again for every
// candidate.
void RunRankRecompute(Context& context) {
  context.Section("Ranking");
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, 1, sizes.rank_events);
  const Model model = MakeModel(*world, kSeed);
  const UserBlock block = MakeRankUser(*world, sizes.rank_events, sizes.rank_candidates, kSeed);
  const Batch shared =
      PackCandidates(world->spec, block, sizes.rank_events, 0, sizes.rank_candidates);
  std::vector<Batch> single;
  for (int64_t i = 0; i < sizes.rank_sample; ++i) {
    single.push_back(PackCandidates(world->spec, block, sizes.rank_events, i, i + 1));
  }
  Forward forward(model, 1);
  const auto score = [&](const Batch& batch) { GRAB_CHECK(forward.Logits(batch).ok()); };
  AtenRankPeer aten_shared(model, shared);
  std::vector<std::unique_ptr<AtenRankPeer>> aten_single;
  for (const Batch& batch : single) {
    aten_single.push_back(std::make_unique<AtenRankPeer>(model, batch));
  }
  const Found found = FindBest("ATen ranking", Choices::OneThread(), [&](const Choice& choice) {
    return MakeSide("", choice.process, [&] { aten_shared.Logits(); }).run();
  });
  const ProcessSettings plain;
  auto seconds = context.Interleave({
      MakeSide("shared, forward", plain, [&] { score(shared); }),
      MakeSide("shared, ATen", found.best.process, [&] { aten_shared.Logits(); }),
      MakeSide("full, forward", plain,
               [&] {
                 for (const Batch& batch : single) score(batch);
               }),
      MakeSide("full, ATen", found.best.process,
               [&] {
                 for (const auto& peer : aten_single) peer->Logits();
               }),
  });
  const double times =
      static_cast<double>(sizes.rank_candidates) / static_cast<double>(sizes.rank_sample);
  for (const size_t side : {2u, 3u}) {
    for (double& value : seconds[side]) value *= times;
  }
  const std::string conditions =
      absl::StrCat(sizes.rank_candidates, " candidates, ", sizes.rank_events, " events, d ",
                   sizes.d_model, ", ", sizes.layers, " layers, ", sizes.heads, " heads, ffn ",
                   sizes.ffn_hidden, ", 1 channel, f32, 1 thread");
  const std::string sampled =
      absl::StrCat(conditions, "; timed on ", sizes.rank_sample, " candidates, times ", times);
  context.Add(Single(Milliseconds("rank_shared_prefix_forward_ms", seconds[0])), conditions);
  context.Add(Single(Milliseconds("rank_shared_prefix_aten_ms", seconds[1])), conditions,
              {found.summary});
  context.Add(Single(Milliseconds("rank_full_forward_ms", seconds[2])), sampled);
  context.Add(Single(Milliseconds("rank_full_aten_ms", seconds[3])), sampled, {found.summary});
}

}  // namespace grab::bench
