// Tiles of keys and values made from the latents that a cache holds of a model with a shared
// latent. They are what the cache would hold without one, in the model's precision: a latent's keys
// and values are computed as LayerStack computes those of a row, and do not depend on the latents
// beside it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hwy/aligned_allocator.h"
#include "serve/cached_page.h"

namespace grab {

class LatentTiles {
 public:
  // Memory for `tiles_max` tiles, taken here only. `model` has a latent and must outlive it.
  LatentTiles(const PackedModel& model, int64_t tiles_max);

  // Tile `index` of the first `keys` keys of a page in one layer. Valid until the index is filled
  // again; slots behind those keys hold anything finite.
  const void* Fill(int64_t index, size_t channel, int64_t layer, uint8_t* page, int64_t keys);

 private:
  const PackedModel& model_;
  CachedPage page_;
  size_t tile_bytes_;
  int64_t tiles_max_;
  hwy::AlignedFreeUniquePtr<uint8_t[]> tiles_;  // [tiles_max, tile_bytes]
  hwy::AlignedFreeUniquePtr<uint8_t[]> rows_;   // left side of the product
  hwy::AlignedFreeUniquePtr<float[]> keys_;     // [64, 2 * d_model]: keys, then values
};

}  // namespace grab
