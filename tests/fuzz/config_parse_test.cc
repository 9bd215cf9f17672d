// A damaged config is an error or another config, never a crash: seeded mutations (bytes replaced,
// removed, doubled, cut) of a real config and of a dump that names every setting.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/rng.h"
#include "config/config.h"

namespace grab {
namespace {

std::string Mutate(std::string text, Rng& rng) {
  static constexpr char kSyntax[] = "[]{}=\"'\\\n#.,+-0_e\xff";
  for (uint64_t n = 1 + rng.Below(4); n > 0 && !text.empty(); --n) {
    const size_t at = rng.Below(text.size());
    switch (rng.Below(4)) {
      case 0:
        text[at] = kSyntax[rng.Below(sizeof(kSyntax))];
        break;
      case 1:
        text.erase(at, 1 + rng.Below(20));
        break;
      case 2:
        text.insert(at, text.substr(rng.Below(text.size()), 1 + rng.Below(40)));
        break;
      default:
        if (rng.Bernoulli(0.2)) text.resize(at);
    }
  }
  return text;
}

TEST(ParseConfig, SurvivesMutations) {
  constexpr int kMutations = 2000;
  const StatusOr<std::string> simulator =
      ReadFile(JoinPath(GRAB_SOURCE_DIR, "configs/simulator.toml"), kConfigBytesMax);
  ASSERT_TRUE(simulator.ok()) << simulator.status();
  int good = 0, bad = 0;
  for (const std::string& seed_text : {*simulator, DumpConfig(Config())}) {
    for (uint64_t seed = 0; seed < kMutations; ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed));
      Rng rng(seed);
      const StatusOr<Config> config = ParseConfig(Mutate(seed_text, rng), "f.toml", {});
      const Status status = config.ok() ? CheckConfig(*config) : config.status();
      ASSERT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
      ASSERT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
      ++(config.ok() ? good : bad);
    }
  }
  // Both outcomes occur, or the mutations test nothing.
  EXPECT_GT(good, kMutations / 20);
  EXPECT_GT(bad, kMutations / 20);
}

}  // namespace
}  // namespace grab
