// Our engine on one user: history cached, candidates scored, events appended. The one place to
// change when its interface changes.
#pragma once

#include <memory>
#include <vector>

#include "bench/world.h"
#include "serve/engine.h"

namespace grab::bench {

class OursRank {
 public:
  // Of `block` (MakeRankUser) the first `events` events are cached, the rest are the candidates.
  // `model` and `block` must outlive it.
  OursRank(const Model& model, Precision precision, const UserBlock& block, int64_t events);

  // All candidates.
  void Score();
  const std::vector<float>& logits() const { return logits_; }

  // The same without a cache: the history is computed anew first.
  void ScoreCold();

  // One more event, a second after the last.
  void Append();

 private:
  const UserBlock& block_;
  size_t events_;
  std::unique_ptr<PackedModel> packed_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Engine> engine_;
  std::vector<float> logits_;
  EventColumns next_;  // one event
};

}  // namespace grab::bench
