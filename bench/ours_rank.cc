#include "bench/ours_rank.h"

#include "base/check.h"

namespace grab::bench {
namespace {

constexpr uint64_t kUser = 1;
constexpr uint64_t kVersion = 1;
constexpr size_t kCacheBytes = 512 << 20;

void Check(const Status& status) { GRAB_CHECK_MSG(status.ok(), status.message()); }

}  // namespace

OursRank::OursRank(const Model& model, Precision precision, const UserBlock& block, int64_t events)
    : block_(block),
      events_(static_cast<size_t>(events)),
      packed_(PackedModel::Create(model, precision).value()),
      cache_(KvCache::Create(Engine::CacheOptions(*packed_, kCacheBytes)).value()),
      engine_(Engine::Create(*packed_, kVersion, cache_.get()).value()),
      logits_((block.events.size() - events_) * model.spec.tasks.size()),
      next_(MakeColumns(model.spec.tokens.schema)) {
  AppendEvent(model.spec.tokens.schema, block.events, events_ - 1, next_);
  Check(engine_->Prefill(kUser, block.events, 0, events_));
}

void OursRank::Score() {
  const ScoreRequest request = {kUser, &block_.events, events_, block_.events.size()};
  Check(engine_->Score({&request, 1}, absl::MakeSpan(logits_)));
}

void OursRank::ScoreCold() {
  engine_->Drop(kUser);
  Check(engine_->Prefill(kUser, block_.events, 0, events_));
  Score();
}

void OursRank::Append() {
  next_.request_time_ms[0] += 1000;
  next_.known_time_ms[0] += 1000;
  Check(engine_->Append(kUser, next_, 0, 1));
}

}  // namespace grab::bench
