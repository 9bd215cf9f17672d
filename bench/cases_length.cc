// What a token costs as histories grow, with windows and without.
#include "absl/strings/str_cat.h"
#include "bench/cases.h"
#include "bench/ours_rank.h"
#include "bench/ours_train.h"

namespace grab::bench {
namespace {

constexpr int kOursThreads = 2;
constexpr ProcessSettings kOurs = {1, 1, Allocator::kRaised};
constexpr int kChannels = 2;

void RunTrainLength(Context& context, int64_t events, bool windowed) {
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, kChannels, windowed ? sizes.window : events);
  const int64_t users = std::max<int64_t>(1, sizes.length_events / events);
  const Batch batch =
      PackUsers(world->spec,
                MakeUsers(*world, std::vector<int64_t>(static_cast<size_t>(users), events), kSeed));
  OursTrainStep ours(*world, batch, kOursThreads);
  auto seconds = context.Interleave({MakeSide("ours", kOurs, [&] { ours.Step(); })});
  for (double& value : seconds[0]) value /= batch.partial.rows + batch.full.rows;
  const std::string name =
      absl::StrCat("length_train_", events, windowed ? "_window" : "_all", "_us_per_token");
  context.Add(
      Single(Microseconds(name, seconds[0])),
      absl::StrCat(users, " users of ", events, " events, each a P and an F token, window ",
                   windowed ? absl::StrCat(sizes.window) : "off", ", d ", sizes.d_model, ", ",
                   sizes.layers, " layers, ", kChannels, " channels, f32, 2 threads"));
}

void RunRankLength(Context& context, int64_t events, bool windowed) {
  const Sizes& sizes = context.sizes();
  const auto world = MakeWorld(sizes, 1, windowed ? sizes.window : events);
  const Model model = MakeModel(*world, kSeed);
  const UserBlock block = MakeRankUser(*world, events, sizes.rank_candidates, kSeed);
  OursRank ours(model, Precision::kF32, block, events);
  auto seconds = context.Interleave({MakeSide("ours", ProcessSettings{}, [&] { ours.Score(); })});
  for (double& value : seconds[0]) value /= static_cast<double>(sizes.rank_candidates);
  const std::string name =
      absl::StrCat("length_rank_", events, windowed ? "_window" : "_all", "_us_per_candidate");
  context.Add(
      Single(Microseconds(name, seconds[0])),
      absl::StrCat(sizes.rank_candidates, " candidates on ", events, " cached events, window ",
                   windowed ? absl::StrCat(sizes.window) : "off", ", d ", sizes.d_model, ", ",
                   sizes.layers, " layers, 1 channel, f32, 1 thread"));
}

}  // namespace

void RunLengths(Context& context) {
  context.Section("Cost against length");
  for (const int64_t events : context.sizes().lengths) {
    for (const bool windowed : {true, false}) RunTrainLength(context, events, windowed);
  }
  for (const int64_t events : context.sizes().lengths) {
    for (const bool windowed : {true, false}) RunRankLength(context, events, windowed);
  }
}

}  // namespace grab::bench
