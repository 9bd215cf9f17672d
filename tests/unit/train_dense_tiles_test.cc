// Every query is in one tile, in order; of a tile's pairs just those are visible that the batch's
// ranges say, their buckets are those of their distance and age, and none is left out of the tile.
// Over histories of no rows, of fewer and of many more than a tile's, windows below and above that.
#include <gtest/gtest.h>

#include "kernels/rab_buckets.h"
#include "support/random_model.h"
#include "train/dense_tiles.h"

namespace grab {
namespace {

struct Seen {
  int64_t begin, end, time_ms;
};

struct Expected {
  const ModelSpec& spec;
  const Batch& batch;
  size_t channel;
  int64_t window_len;

  const ChannelBatch& rows() const { return batch.channels[channel]; }
  int64_t partial_rows() const { return static_cast<int64_t>(rows().token.size()); }

  // Of one row of the channel: a partial one, or with `full` one of the batch's full rows.
  Seen Of(size_t row, bool full) const {
    if (full) return {rows().full_begin[row], rows().full_end[row], batch.request_time_ms[row]};
    return {rows().partial_begin[row], static_cast<int64_t>(row), rows().key_time_ms[row]};
  }
};

int64_t TimeBucketByLooking(const std::vector<int64_t>& bounds_ms, int64_t age_ms) {
  int64_t bucket = 1;
  for (const int64_t bound : bounds_ms) bucket += bound < age_ms ? 1 : 0;
  return bucket;
}

void CheckTile(const Expected& expected, const DenseTile& tile, const TileBuckets& buckets,
               bool full) {
  const ModelSpec& spec = expected.spec;
  const auto position = PositionBuckets(spec.position_buckets, expected.window_len);
  const auto bounds_ms = TimeBoundsMs(spec.time_buckets, spec.time_max_s);
  ASSERT_EQ(tile.visible.sizes(), (std::vector<int64_t>{tile.query_rows, tile.key_rows}));
  const auto visible = tile.visible.accessor<uint8_t, 2>();
  const auto position_of = buckets.position.accessor<int64_t, 2>();
  const auto time_of = buckets.time.accessor<int64_t, 2>();
  for (int64_t q = 0; q < tile.query_rows; ++q) {
    const int64_t row = tile.query_begin + q - (full ? expected.partial_rows() : 0);
    const Seen seen = expected.Of(static_cast<size_t>(row), full);
    if (seen.begin < seen.end) {
      ASSERT_GE(seen.begin, tile.key_begin);
      ASSERT_LE(seen.end, tile.key_begin + tile.key_rows);
    }
    for (int64_t k = 0; k < tile.key_rows; ++k) {
      const int64_t key = tile.key_begin + k;
      const bool sees = key >= seen.begin && key < seen.end;
      ASSERT_EQ(visible[q][k] != 0, sees) << "query " << q << ", key " << k;
      const int64_t age_ms = seen.time_ms - expected.rows().key_time_ms[static_cast<size_t>(key)];
      ASSERT_EQ(position_of[q][k], sees ? position[static_cast<size_t>(seen.end - key)] : 0);
      ASSERT_EQ(time_of[q][k], sees ? TimeBucketByLooking(bounds_ms, age_ms) : 0);
    }
  }
}

// The tiles of the channel's partial rows or, with `full`, of the batch's full rows.
void CheckTiles(const Expected& expected, const std::vector<DenseTile>& tiles, bool full) {
  const int64_t first = full ? expected.partial_rows() : 0;
  const auto& offsets = full ? expected.batch.full_offsets : expected.rows().segment_offsets;
  const std::vector<TileBuckets> buckets =
      BucketsOf(expected.spec, expected.batch, expected.channel, tiles);
  ASSERT_EQ(buckets.size(), tiles.size());
  int64_t next = first;
  for (size_t t = 0; t < tiles.size(); ++t) {
    EXPECT_EQ(tiles[t].query_begin, next);
    EXPECT_GT(tiles[t].query_rows, 0);
    next += tiles[t].query_rows;
    for (const uint32_t offset : offsets) {
      EXPECT_FALSE(first + offset > tiles[t].query_begin && first + offset < next);
    }
    // What the tiles are for: no more keys than the window's and one for each other query.
    if (!full) {
      EXPECT_LE(tiles[t].key_rows, expected.window_len + tiles[t].query_rows - 1);
    }
    CheckTile(expected, tiles[t], buckets[t], full);
  }
  EXPECT_EQ(next - first, static_cast<int64_t>(offsets.back()));
}

// Parts of a matrix whose every value tells its row.
void CheckParts(const Expected& expected, const std::vector<DenseTile>& tiles) {
  const torch::Tensor keys = torch::arange(expected.partial_rows()).unsqueeze(1);
  int64_t queries = 0;
  for (const DenseTile& tile : tiles) queries += tile.query_rows;
  const auto keys_of = KeysOf(tiles, keys);
  const auto queries_of = QueriesOf(tiles, torch::arange(queries).unsqueeze(1));
  ASSERT_EQ(keys_of.size(), tiles.size());
  ASSERT_EQ(queries_of.size(), tiles.size());
  for (size_t t = 0; t < tiles.size(); ++t) {
    const int64_t begin = tiles[t].query_begin - tiles[0].query_begin;
    EXPECT_TRUE(
        torch::equal(queries_of[t].squeeze(1), torch::arange(begin, begin + tiles[t].query_rows)));
    EXPECT_TRUE(
        torch::equal(keys_of[t].squeeze(1),
                     torch::arange(tiles[t].key_begin, tiles[t].key_begin + tiles[t].key_rows)));
  }
}

TEST(DenseTiles, HoldWhatTheRangesSay) {
  for (const int64_t window_len : {4, 100}) {
    for (const int events : {1, 20, 400}) {
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        Config config = testing::MakeConfig();
        config.grab.model.channels[0].window_len = window_len;
        const Model model = testing::MakeModel(config, ModelKind::kGrab, seed);
        const Batch batch = testing::PackAll(
            model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, 4, events));
        for (size_t channel = 0; channel < 2; ++channel) {
          SCOPED_TRACE(::testing::Message() << "window " << window_len << ", events " << events
                                            << ", seed " << seed << ", channel " << channel);
          const Expected expected{model.spec, batch, channel,
                                  config.grab.model.channels[channel].window_len};
          CheckTiles(expected, PartialTiles(batch, channel), false);
          CheckTiles(expected, FullTiles(batch, channel), true);
          CheckParts(expected, PartialTiles(batch, channel));
          CheckParts(expected, FullTiles(batch, channel));
        }
      }
    }
  }
}

}  // namespace
}  // namespace grab
