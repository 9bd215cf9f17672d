// What a page of an engine's KvCache holds: 64 consecutive keys of one channel, in every layer.
//
//   without a latent  [layers] tiles of kernels/rab_simd.h in the model's precision
//   with one          [layers, 64, latent_width] f32, then [64] i32 action classes of the keys:
//   what
//                     tiles are made from again when they are attended to
//
// A page starts zeroed and aligned to 64 bytes (KvCache::Reserve); it belongs to the cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kv_cache.h"
#include "model/packed_model.h"

namespace grab {

class CachedPage {
 public:
  explicit CachedPage(const PackedModel& model)
      : latent_width_(model.spec().latent_width),
        layer_bytes_(latent_width_ > 0
                         ? static_cast<size_t>(kPageKeys * latent_width_) * sizeof(float)
                         : RabTileBytes(model.shape(), model.precision())),
        all_layers_bytes_(static_cast<size_t>(model.spec().layers) * layer_bytes_) {}

  size_t bytes() const {
    return all_layers_bytes_ + (latent_width_ > 0 ? kPageKeys * sizeof(int32_t) : 0);
  }

  // Without a latent.
  uint8_t* Tile(uint8_t* page, int64_t layer) const {
    return page + static_cast<size_t>(layer) * layer_bytes_;
  }

  // With one.
  float* Latents(uint8_t* page, int64_t layer) const {  // [64, latent_width]
    return reinterpret_cast<float*>(page + static_cast<size_t>(layer) * layer_bytes_);
  }
  int32_t* Actions(uint8_t* page) const {  // [64]
    return reinterpret_cast<int32_t*>(page + all_layers_bytes_);
  }

 private:
  int64_t latent_width_;
  size_t layer_bytes_;
  size_t all_layers_bytes_;
};

}  // namespace grab
