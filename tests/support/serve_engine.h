// An engine with all that it needs, over a random model.
#pragma once

#include <memory>
#include <vector>

#include "base/check.h"
#include "serve/engine.h"
#include "support/random_model.h"

namespace grab::testing {

struct TestEngine {
  std::unique_ptr<PackedModel> packed;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Engine> engine;

  // `model` must outlive it.
  explicit TestEngine(const Model& model, Precision precision = Precision::kF32,
                      int64_t micro_batch_rows = 64, size_t cache_bytes = 64 << 20,
                      uint64_t version = 1)
      : packed(*PackedModel::Create(model, precision)) {
    if (!model.spec.channels.empty()) {
      cache = *KvCache::Create(Engine::CacheOptions(*packed, cache_bytes));
    }
    engine = *Engine::Create(*packed, version, cache.get(), micro_batch_rows);
  }
  Engine* operator->() { return engine.get(); }

  std::vector<float> Score(const std::vector<ScoreRequest>& requests) {
    size_t rows = 0;
    for (const ScoreRequest& request : requests) rows += request.end - request.begin;
    std::vector<float> logits(rows * packed->spec().tasks.size());
    const Status status = engine->Score(requests, absl::MakeSpan(logits));
    GRAB_CHECK_MSG(status.ok(), status.ToString());
    return logits;
  }
};

}  // namespace grab::testing
