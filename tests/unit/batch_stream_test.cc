// A pass over prepared shards as batches: every target once, budgets, orders, Skip, and the
// prefetching thread. Shards of random blocks are written to a temporary folder; what must come out
// is counted from those blocks directly.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "batch/stream.h"
#include "support/base_temp_dir.h"
#include "support/random_world.h"

namespace grab {
namespace {

constexpr int kShards = 2;
constexpr int kBlocksPerShard = 4;
constexpr uint64_t kIdsPerBlock = 1000;  // MakeBlock numbers the events of seed s from 1000 s

struct Mode {
  const char* name;
  bool impressions;
  uint32_t window_size;
  uint32_t window_train;
};
constexpr Mode kModes[] = {
    {"packed", false, 0, 0}, {"windowed", false, 8, 3}, {"impressions", true, 0, 0}};

class BatchStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Config config = testing::MakeConfig();
    schema_ = *Schema::FromConfig(config);
    spec_ = *TokenSpec::FromConfig(config, schema_, 4);
    std::vector<std::string> shards;
    for (int shard = 0; shard < kShards; ++shard) {
      const std::string name = absl::StrFormat("shard-%04d.grab", shard);
      auto writer = ShardWriter::Create(dir_.File(name), schema_, 1);
      ASSERT_TRUE(writer.ok()) << writer.status();
      for (int b = 0; b < kBlocksPerShard; ++b) {
        UserBlock block = testing::MakeBlock(
            schema_, static_cast<uint64_t>(1 + shard * kBlocksPerShard + b), 3, 25);
        // A block without targets: it is never read, and must not end the pass.
        if (shard == 0 && b == 1) {
          std::fill(block.events.split.begin(), block.events.split.end(), Split::kContext);
        }
        for (size_t i = 0; i < block.events.size(); ++i) {
          if (block.events.split[i] == Split::kTrain) targets_.push_back(block.events.event_id[i]);
        }
        ASSERT_TRUE((*writer)->Append(block).ok());
      }
      ASSERT_TRUE((*writer)->Finish().ok());
      shards.push_back(
          absl::StrFormat(R"({"file":"%s","checksum":"%016x"})", name, (*writer)->checksum()));
    }
    std::ofstream(dir_.File(kManifestName))
        << R"({"rows_hash":"0","shards":[)" << absl::StrJoin(shards, ",") << "]}";
    auto set = ShardSet::Open(dir_.path());
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = *std::move(set);
    blocks_ = std::make_unique<LoadedBlocks>(*set_);
    PackPlan plan;
    plan.channels = {{0, 4, 0}, {3, 3, 60000}};
    plan.layers = 2;
    history_ = std::make_unique<BatchBuilder>(*BatchBuilder::Create(spec_, plan, {"ad"}));
    no_history_ = std::make_unique<BatchBuilder>(*BatchBuilder::Create(spec_, PackPlan()));
    std::sort(targets_.begin(), targets_.end());
    ASSERT_GT(targets_.size(), 100u);
  }

  static StreamOptions Options(const Mode& mode) {
    StreamOptions options;
    options.impressions = mode.impressions;
    options.window_size = mode.window_size;
    options.window_train = mode.window_train;
    options.shuffle = true;
    options.shuffle_blocks = 3;
    options.batch_tokens = 60;
    return options;
  }

  BatchStream Stream(const StreamOptions& options) const {
    return BatchStream(*blocks_, options.impressions ? *no_history_ : *history_, options);
  }

  std::vector<Batch> All(const StreamOptions& options) const {
    BatchStream stream = Stream(options);
    std::vector<Batch> batches;
    while (true) {
      auto batch = stream.Next();
      EXPECT_TRUE(batch.ok()) << batch.status();
      if (!batch.ok() || !batch->has_value()) return batches;
      batches.push_back(**std::move(batch));
    }
  }

  static std::vector<uint64_t> Ids(const std::vector<Batch>& batches) {
    std::vector<uint64_t> ids;
    for (const Batch& batch : batches) {
      ids.insert(ids.end(), batch.event_id.begin(), batch.event_id.end());
    }
    return ids;
  }

  TempDir dir_;
  Schema schema_;
  TokenSpec spec_;
  std::vector<uint64_t> targets_;  // event ids, ascending
  std::unique_ptr<ShardSet> set_;
  std::unique_ptr<LoadedBlocks> blocks_;  // of all streams, one after another
  std::unique_ptr<BatchBuilder> history_;
  std::unique_ptr<BatchBuilder> no_history_;
};

bool SameTokens(const TokenColumns& a, const TokenColumns& b) {
  if (a.rows != b.rows || a.slots != b.slots || a.columns.size() != b.columns.size()) return false;
  for (size_t c = 0; c < a.columns.size(); ++c) {
    if (a.columns[c].offsets != b.columns[c].offsets || a.columns[c].keys != b.columns[c].keys ||
        a.columns[c].weights != b.columns[c].weights || a.columns[c].dense != b.columns[c].dense) {
      return false;
    }
  }
  return true;
}

bool SameBatches(const Batch& a, const Batch& b) {
  if (!SameTokens(a.partial, b.partial) || !SameTokens(a.full, b.full) ||
      a.channels.size() != b.channels.size()) {
    return false;
  }
  for (size_t c = 0; c < a.channels.size(); ++c) {
    const ChannelBatch& x = a.channels[c];
    const ChannelBatch& y = b.channels[c];
    if (x.token != y.token || x.segment_offsets != y.segment_offsets ||
        x.key_time_ms != y.key_time_ms || x.key_action != y.key_action ||
        x.partial_begin != y.partial_begin || x.full_begin != y.full_begin ||
        x.full_end != y.full_end) {
      return false;
    }
  }
  return a.request_time_ms == b.request_time_ms && a.labels == b.labels &&
         a.labels_known == b.labels_known && a.event_id == b.event_id && a.user_key == b.user_key &&
         a.page_id == b.page_id && a.split == b.split && a.history_len == b.history_len &&
         a.slices == b.slices;
}

// Budgets: below a single target's need, a few users' worth, more than the whole set. Blocks
// shuffled together: one, some, more than there are.
TEST_F(BatchStreamTest, EveryTargetExactlyOncePerPassAndWithinTheBudget) {
  EXPECT_EQ(CountTargets(*set_, Split::kTrain), targets_.size());
  for (const Mode& mode : kModes) {
    for (const bool shuffle : {false, true}) {
      for (const uint64_t batch_tokens : {1, 60, 1 << 20}) {
        for (const uint32_t shuffle_blocks : {1, 3, 100}) {
          for (const uint64_t seed : {1, 2, 3}) {
            SCOPED_TRACE(::testing::Message()
                         << mode.name << " shuffle " << shuffle << " batch_tokens " << batch_tokens
                         << " shuffle_blocks " << shuffle_blocks << " seed " << seed);
            StreamOptions options = Options(mode);
            options.shuffle = shuffle;
            options.batch_tokens = batch_tokens;
            options.shuffle_blocks = shuffle_blocks;
            options.seed = seed;
            options.pass = seed % 2;
            const std::vector<Batch> batches = All(options);
            std::vector<uint64_t> ids = Ids(batches);
            std::sort(ids.begin(), ids.end());
            ASSERT_EQ(ids, targets_);
            for (const Batch& batch : batches) {
              ASSERT_GT(batch.full.rows, 0u);
              ASSERT_EQ(batch.full.rows, batch.event_id.size());
              // Only a target that alone needs more may exceed the budget.
              ASSERT_TRUE(batch.tokens() <= batch_tokens || batch.full.rows == 1)
                  << batch.tokens() << " tokens, " << batch.full.rows << " targets";
            }
          }
        }
      }
    }
  }
}

// Whether blocks were cut to the targets or another stream had left them whole, in every mode the
// batches and their order are the same: a resumed run may find the one where the first found the
// other. Single impressions are also what they are to a stream that asks for all events.
TEST_F(BatchStreamTest, TargetsAloneMakeTheSameBatches) {
  const auto all = [&](const StreamOptions& options) {
    BatchStream stream(*blocks_, *no_history_, options);
    std::vector<Batch> batches;
    for (auto batch = stream.Next(); batch.ok() && batch->has_value(); batch = stream.Next()) {
      batches.push_back(**std::move(batch));
      batches.back().history_len.clear();
    }
    return batches;
  };
  const auto expect_same = [](const std::vector<Batch>& a, const std::vector<Batch>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(SameBatches(a[i], b[i])) << "batch " << i;
  };
  for (const Mode& mode : kModes) {
    SCOPED_TRACE(mode.name);
    StreamOptions options = Options(mode);
    options.targets_only = true;
    options.shuffle_blocks = 100;
    ASSERT_TRUE(blocks_->Load({}, std::nullopt).ok());
    const std::vector<Batch> cut = all(options);
    std::vector<uint64_t> ids = Ids(cut);
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(ids, targets_);
    ASSERT_TRUE(blocks_->Load(set_->blocks(), std::nullopt).ok());
    expect_same(cut, all(options));
    if (!mode.impressions) continue;
    options.targets_only = false;
    expect_same(cut, all(options));
  }
}

TEST_F(BatchStreamTest, WithoutTargetsOfTheSplitThereIsNoBatch) {
  StreamOptions options = Options(kModes[0]);
  options.split = Split::kTest;
  BatchStream stream = Stream(options);
  EXPECT_EQ(*stream.Skip(), 0u);
  EXPECT_FALSE(stream.Next()->has_value());
}

// Each place of a pass is skipped or built at random: what is built equals what Next() alone gives
// at that place, and Skip's count is the number of targets there. Pattern 0 skips a prefix, as a
// resumed run does.
TEST_F(BatchStreamTest, SkipContinuesWhereNextWould) {
  for (const Mode& mode : kModes) {
    const StreamOptions options = Options(mode);
    const std::vector<Batch> expected = All(options);
    ASSERT_GT(expected.size(), 3u);
    for (uint64_t pattern = 0; pattern < 6; ++pattern) {
      SCOPED_TRACE(::testing::Message() << mode.name << " pattern " << pattern);
      Rng rng(pattern);
      BatchStream stream = Stream(options);
      for (size_t i = 0; i < expected.size(); ++i) {
        const bool skip = pattern == 0 ? i < expected.size() / 2 : rng.Bernoulli(0.5);
        if (skip) {
          const auto skipped = stream.Skip();
          ASSERT_TRUE(skipped.ok()) << skipped.status();
          ASSERT_EQ(*skipped, expected[i].full.rows) << "batch " << i;
        } else {
          const auto batch = stream.Next();
          ASSERT_TRUE(batch.ok() && batch->has_value()) << "batch " << i;
          ASSERT_TRUE(SameBatches(**batch, expected[i])) << "batch " << i;
        }
      }
      for (int again = 0; again < 2; ++again) {
        EXPECT_EQ(*stream.Skip(), 0u);
        EXPECT_FALSE(stream.Next()->has_value());
      }
    }
  }
}

// With hundreds of targets two independent orders that agree would be a miracle, and seeds are
// fixed.
TEST_F(BatchStreamTest, SeedAndPassDecideTheOrder) {
  for (const Mode& mode : kModes) {
    SCOPED_TRACE(mode.name);
    const StreamOptions options = Options(mode);
    const std::vector<uint64_t> order = Ids(All(options));
    EXPECT_EQ(Ids(All(options)), order);
    StreamOptions other_pass = options;
    other_pass.pass = 1;
    EXPECT_NE(Ids(All(other_pass)), order);
    StreamOptions other_seed = options;
    other_seed.seed = 2;
    EXPECT_NE(Ids(All(other_seed)), order);
    StreamOptions in_order = options;
    in_order.shuffle = false;
    in_order.pass = 5;
    // Users of a block are contiguous, their events by known time: blocks ascend, ids may not.
    std::vector<uint64_t> blocks = Ids(All(in_order));
    for (uint64_t& id : blocks) id /= kIdsPerBlock;
    EXPECT_TRUE(std::is_sorted(blocks.begin(), blocks.end()));
  }
}

// shuffle_blocks bounds what is in memory: targets of blocks that were not loaded together do not
// mix, those of blocks that were do.
TEST_F(BatchStreamTest, ShuffleBlocksBoundsTheMixing) {
  const auto runs_of = [&](uint32_t shuffle_blocks) {
    StreamOptions options = Options(kModes[2]);
    options.shuffle_blocks = shuffle_blocks;
    size_t runs = 0;
    uint64_t last_block = ~uint64_t{0};
    for (const uint64_t id : Ids(All(options))) {
      runs += id / kIdsPerBlock != last_block;
      last_block = id / kIdsPerBlock;
    }
    return runs;
  };
  EXPECT_EQ(runs_of(1), size_t{kShards * kBlocksPerShard - 1});  // one block has no targets
  EXPECT_GT(runs_of(3), size_t{4 * kShards * kBlocksPerShard});
}

TEST_F(BatchStreamTest, PrefetcherGivesTheStreamsBatchesAndEndsRepeatedly) {
  for (const Mode& mode : kModes) {
    const StreamOptions options = Options(mode);
    const std::vector<Batch> expected = All(options);
    for (const size_t depth : {1, 2, 4, 1000}) {
      SCOPED_TRACE(::testing::Message() << mode.name << " depth " << depth);
      BatchStream stream = Stream(options);
      Prefetcher prefetcher(stream, depth);
      for (size_t i = 0; i < expected.size(); ++i) {
        const auto batch = prefetcher.Next();
        ASSERT_TRUE(batch.ok() && batch->has_value()) << "batch " << i;
        ASSERT_TRUE(SameBatches(**batch, expected[i])) << "batch " << i;
      }
      for (int again = 0; again < 3; ++again) {
        const auto end = prefetcher.Next();
        ASSERT_TRUE(end.ok()) << end.status();
        ASSERT_FALSE(end->has_value());
      }
    }
  }
}

// Destroyed unread, after some batches and while the thread waits for room; a destructor that does
// not wake its thread would hang.
TEST_F(BatchStreamTest, PrefetcherCanBeDestroyedEarly) {
  for (const size_t depth : {1, 3, 1000}) {
    for (const int taken : {0, 1, 3}) {
      SCOPED_TRACE(::testing::Message() << "depth " << depth << " taken " << taken);
      BatchStream stream = Stream(Options(kModes[1]));
      Prefetcher prefetcher(stream, depth);
      for (int i = 0; i < taken; ++i) {
        const auto batch = prefetcher.Next();
        ASSERT_TRUE(batch.ok() && batch->has_value());
      }
    }
  }
}

// Sets that overlap in part, wholly and not at all: each block is what the shards hold, and one
// that was there stays where it was.
TEST_F(BatchStreamTest, LoadedBlocksAreReadOnce) {
  const std::vector<ShardSet::BlockRef>& all = set_->blocks();
  ASSERT_GE(all.size(), 4u);
  const size_t middle = all.size() / 2;
  std::vector<const UserBlock*> before(all.size(), nullptr);
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, middle + 1},
                                   {middle - 1, all.size()},
                                   {middle - 1, all.size()},
                                   {0, 1},
                                   {0, 0},
                                   {0, all.size()}}) {
    const auto loaded = blocks_->Load(
        {all.begin() + static_cast<ptrdiff_t>(begin), all.begin() + static_cast<ptrdiff_t>(end)},
        std::nullopt);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    std::vector<const UserBlock*> now(all.size(), nullptr);
    for (size_t i = begin; i < end; ++i) {
      now[i] = (*loaded)[i - begin];
      EXPECT_TRUE(before[i] == nullptr || now[i] == before[i]);
      EXPECT_EQ(now[i]->events.event_id, set_->Read(all[i])->events.event_id);
    }
    before = now;
  }
}

// A block that is cut serves its own choice alone; one that is whole serves all, as where slices
// are scored, which needs whole blocks, and then trained on.
TEST_F(BatchStreamTest, LoadedBlocksAreCutOnlyWhereNoneIsWhole) {
  const ShardSet::BlockRef first = set_->blocks().front(), last = set_->blocks().back();
  const std::optional<Split> whole, train = Split::kTrain, test = Split::kTest;
  const size_t train_events = set_->info(first).targets[static_cast<size_t>(Split::kTrain)];
  ASSERT_LT(train_events, set_->info(first).events);
  struct Step {
    std::vector<ShardSet::BlockRef> refs;
    std::optional<Split> asked, got;
  };
  for (const Step& step : {Step{{first}, train, train},
                           {{first, last}, train, train},
                           {{first}, test, test},
                           {{first}, whole, whole},
                           {{first}, train, whole},
                           {{first, last}, test, whole},
                           {{last}, train, whole},
                           {{first}, train, train}}) {
    const auto loaded = blocks_->Load(step.refs, step.asked);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    for (size_t i = 0; i < step.refs.size(); ++i) {
      const BlockInfo& info = set_->info(step.refs[i]);
      EXPECT_EQ((*loaded)[i]->events.size(),
                step.got.has_value() ? info.targets[static_cast<size_t>(*step.got)] : info.events);
    }
  }
}

// One byte of the last block is flipped after the shards were opened.
TEST_F(BatchStreamTest, ADamagedBlockIsAnErrorThatStays) {
  const ShardSet::BlockRef last = set_->blocks().back();
  const std::string path = dir_.File(absl::StrFormat("shard-%04d.grab", kShards - 1));
  const auto place =
      static_cast<std::streamoff>(set_->info(last).offset + set_->info(last).size_bytes / 2);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(place);
  const char flipped = static_cast<char>(file.get() ^ 1);
  file.seekp(place);
  file.put(flipped);
  file.close();
  BatchStream stream = Stream(Options(kModes[0]));
  Prefetcher prefetcher(stream, 2);
  Status status;
  for (int i = 0; i < 10000 && status.ok(); ++i) {
    const auto batch = prefetcher.Next();
    status = batch.status();
    ASSERT_TRUE(!batch.ok() || batch->has_value()) << "the pass ended as if all were well";
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(std::string(status.message()).find(path), std::string::npos) << status;
  for (int again = 0; again < 3; ++again) EXPECT_EQ(prefetcher.Next().status(), status);
}

}  // namespace
}  // namespace grab
