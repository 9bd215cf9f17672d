#include "serve/latent_tiles.h"

#include <algorithm>

#include "base/check.h"

namespace grab {

LatentTiles::LatentTiles(const PackedModel& model, int64_t tiles_max)
    : model_(model),
      page_(model),
      tile_bytes_(RabTileBytes(model.shape(), model.precision())),
      tiles_max_(tiles_max) {
  const ModelSpec& spec = model.spec();
  const size_t bytes = static_cast<size_t>(tiles_max) * tile_bytes_;
  tiles_ = hwy::AllocateAligned<uint8_t>(bytes);
  rows_ = hwy::AllocateAligned<uint8_t>(
      std::max<size_t>(64, LinearRowsBytes(model.precision(), kPageKeys, spec.latent_width)));
  keys_ = hwy::AllocateAligned<float>(static_cast<size_t>(kPageKeys * 2 * spec.d_model));
  GRAB_CHECK_MSG(tiles_ != nullptr && rows_ != nullptr && keys_ != nullptr,
                 "out of memory for the tiles of an engine");
  std::fill_n(tiles_.get(), bytes, uint8_t{0});  // as WriteRabTile wants them
}

const void* LatentTiles::Fill(int64_t index, size_t channel, int64_t layer, uint8_t* page,
                              int64_t keys) {
  GRAB_CHECK(index < tiles_max_);
  const PackedLayer& packed = model_.layer(channel, layer);
  const int64_t d = model_.spec().d_model;
  const int64_t width = model_.spec().latent_width;
  const LinearRows latents =
      ConvertRows(model_.precision(), keys, width, page_.Latents(page, layer), width, rows_.get());
  PackedLinearForward(packed.kv, latents, keys, Epilogue::kStore, keys_.get(), 2 * d);
  uint8_t* tile = tiles_.get() + static_cast<size_t>(index) * tile_bytes_;
  WriteRabTile(model_.shape(), model_.precision(), keys_.get(), keys_.get() + d, 2 * d,
               page_.Actions(page), packed.codebook_action, 0, keys, tile);
  return tile;
}

}  // namespace grab
