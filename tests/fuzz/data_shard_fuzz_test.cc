// The fuzz target under a seeded mutation loop, so that every build runs it: valid blocks with a
// few bytes changed, inserted, removed or copied. A crash or a failed check ends the test; that
// mutations reach the decoder deeply shows in how many are still accepted, which the last check
// demands.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "data/block_codec.h"
#include "support/data_blocks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace grab {
namespace {

void Mutate(Rng& rng, std::string& bytes) {
  const uint64_t changes = 1 + rng.Below(3);
  for (uint64_t i = 0; i < changes && bytes.size() > 2; ++i) {
    const size_t at = rng.Below(bytes.size());
    const uint8_t interesting[] = {0, 1, 2, 3, 4, 5, 8, 127, 128, 255};
    switch (rng.Below(5)) {
      case 0:
        bytes[at] = static_cast<char>(rng.Next());
        break;
      case 1:
        bytes[at] = static_cast<char>(interesting[rng.Below(std::size(interesting))]);
        break;
      case 2:
        bytes.erase(at, 1 + rng.Below(4));
        break;
      case 3:
        bytes.insert(at, 1 + rng.Below(4), static_cast<char>(rng.Next()));
        break;
      default:
        bytes.replace(at, 8, bytes.substr(rng.Below(bytes.size()), 8));
    }
  }
}

TEST(ShardFuzz, MutatedBlocksNeverBreakTheDecoder) {
  const Schema schema = AllKindsSchema();
  constexpr uint64_t kSeeds = 20;
  constexpr int kMutations = 250;
  int accepted = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const UserBlock block = RandomBlock(schema, seed, 1 + seed % 12, 18, seed % 2 == 0);
    ASSERT_LE(block.events.size(), 255u);
    std::string good;
    good.push_back(static_cast<char>(block.users()));
    good.push_back(static_cast<char>(block.events.size()));
    good += EncodeBlock(schema, block, 3);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(good.data()), good.size());
    Rng rng(seed);
    for (int i = 0; i < kMutations; ++i) {
      std::string bad = good;
      Mutate(rng, bad);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bad.data()), bad.size());
      uint64_t error_offset = 0;
      accepted += DecodeBlock(schema, static_cast<uint8_t>(bad[0]), static_cast<uint8_t>(bad[1]),
                              {reinterpret_cast<const uint8_t*>(bad.data()) + 2, bad.size() - 2},
                              &error_offset)
                      .ok();
    }
  }
  RecordProperty("accepted", accepted);
  EXPECT_GT(accepted, static_cast<int>(kSeeds) * kMutations / 100);
}

}  // namespace
}  // namespace grab
