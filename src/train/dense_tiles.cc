#include "train/dense_tiles.h"

#include <algorithm>
#include <numeric>

#include "kernels/rab_buckets.h"

namespace grab {
namespace {

// Larger ones share more keys between queries, but of a window of 50 they compute more in vain.
constexpr int64_t kTileRows = 64;

struct Query {
  int64_t begin, end;  // sees the channel's partial rows [begin, end)
  int64_t time_ms;
};

int64_t PartialRows(const ChannelBatch& channel) {
  return static_cast<int64_t>(channel.token.size());
}

Query QueryOf(const Batch& batch, const ChannelBatch& channel, int64_t query) {
  const int64_t full = query - PartialRows(channel);
  if (full < 0) {
    const auto row = static_cast<size_t>(query);
    return {channel.partial_begin[row], query, channel.key_time_ms[row]};
  }
  const auto row = static_cast<size_t>(full);
  return {channel.full_begin[row], channel.full_end[row], batch.request_time_ms[row]};
}

torch::Tensor Visible(const std::vector<Query>& queries, int64_t key_begin, int64_t key_rows) {
  torch::Tensor visible =
      torch::zeros({static_cast<int64_t>(queries.size()), key_rows}, torch::kUInt8);
  auto* row = visible.data_ptr<uint8_t>();
  for (const Query& query : queries) {
    if (query.begin < query.end) {
      std::fill(row + query.begin - key_begin, row + query.end - key_begin, uint8_t{1});
    }
    row += key_rows;
  }
  return visible;
}

DenseTile TileOf(const Batch& batch, const ChannelBatch& channel, int64_t begin, int64_t end) {
  DenseTile tile;
  tile.query_begin = begin;
  tile.query_rows = end - begin;
  std::vector<Query> queries;
  int64_t key_begin = PartialRows(channel), key_end = 0;
  for (int64_t q = begin; q < end; ++q) {
    const Query& query = queries.emplace_back(QueryOf(batch, channel, q));
    if (query.begin == query.end) continue;
    key_begin = std::min(key_begin, query.begin);
    key_end = std::max(key_end, query.end);
  }
  if (key_begin < key_end) {
    tile.key_begin = key_begin;
    tile.key_rows = key_end - key_begin;
  }
  tile.visible = Visible(queries, tile.key_begin, tile.key_rows);
  return tile;
}

// Of segments at `offsets`, whose first query is the channel's row `first`.
std::vector<DenseTile> Tiles(const Batch& batch, const ChannelBatch& channel,
                             const std::vector<uint32_t>& offsets, int64_t first) {
  std::vector<DenseTile> tiles;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t end = first + offsets[s + 1];
    for (int64_t begin = first + offsets[s]; begin < end; begin += kTileRows) {
      tiles.push_back(TileOf(batch, channel, begin, std::min(begin + kTileRows, end)));
    }
  }
  return tiles;
}

TileBuckets TileBucketsOf(const Batch& batch, const ChannelBatch& channel,
                          const std::vector<uint16_t>& position,
                          const std::vector<int64_t>& bounds_ms, const DenseTile& tile) {
  const std::vector<int64_t> shape = {tile.query_rows, tile.key_rows};
  TileBuckets buckets = {torch::zeros(shape, torch::kInt64), torch::zeros(shape, torch::kInt64)};
  auto* position_row = buckets.position.data_ptr<int64_t>();
  auto* time_row = buckets.time.data_ptr<int64_t>();
  for (int64_t q = 0; q < tile.query_rows; ++q) {
    const Query query = QueryOf(batch, channel, tile.query_begin + q);
    for (int64_t key = query.begin; key < query.end; ++key) {
      const int64_t age_ms = query.time_ms - channel.key_time_ms[static_cast<size_t>(key)];
      position_row[key - tile.key_begin] = position[static_cast<size_t>(query.end - key)];
      time_row[key - tile.key_begin] =
          TimeBucket(bounds_ms.data(), static_cast<int64_t>(bounds_ms.size()), age_ms);
    }
    position_row += tile.key_rows;
    time_row += tile.key_rows;
  }
  return buckets;
}

}  // namespace

std::vector<DenseTile> PartialTiles(const Batch& batch, size_t channel) {
  const ChannelBatch& rows = batch.channels[channel];
  return Tiles(batch, rows, rows.segment_offsets, 0);
}

std::vector<DenseTile> FullTiles(const Batch& batch, size_t channel) {
  const ChannelBatch& rows = batch.channels[channel];
  return Tiles(batch, rows, batch.full_offsets, PartialRows(rows));
}

std::vector<TileBuckets> BucketsOf(const ModelSpec& spec, const Batch& batch, size_t channel,
                                   const std::vector<DenseTile>& tiles) {
  const std::vector<uint16_t> position =
      PositionBuckets(spec.position_buckets, spec.DistanceMax(channel));
  const std::vector<int64_t> bounds_ms = TimeBoundsMs(spec.time_buckets, spec.time_max_s);
  std::vector<TileBuckets> buckets;
  for (const DenseTile& tile : tiles) {
    buckets.push_back(TileBucketsOf(batch, batch.channels[channel], position, bounds_ms, tile));
  }
  return buckets;
}

std::vector<torch::Tensor> QueriesOf(const std::vector<DenseTile>& tiles, const torch::Tensor& x) {
  std::vector<int64_t> sizes;
  for (const DenseTile& tile : tiles) sizes.push_back(tile.query_rows);
  return x.split_with_sizes(sizes, 0);
}

// Gathered at once: the gradient of each tile's rows alone would be as large as x.
std::vector<torch::Tensor> KeysOf(const std::vector<DenseTile>& tiles, const torch::Tensor& x) {
  std::vector<int64_t> sizes, rows;
  for (const DenseTile& tile : tiles) {
    sizes.push_back(tile.key_rows);
    rows.resize(rows.size() + static_cast<size_t>(tile.key_rows));
    std::iota(rows.end() - tile.key_rows, rows.end(), tile.key_begin);
  }
  return x.index_select(0, torch::tensor(rows, torch::kInt64)).split_with_sizes(sizes, 0);
}

}  // namespace grab
