#include "batch/stream.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/threads.h"
#include "batch/windows.h"

namespace grab {

BatchStream::BatchStream(LoadedBlocks& blocks, const BatchBuilder& builder, StreamOptions options)
    : blocks_(blocks),
      builder_(builder),
      options_(options),
      rng_(HashCombine(options.seed, options.pass)),
      order_(blocks.shards().blocks()) {
  GRAB_CHECK(options.shuffle_blocks > 0);
  GRAB_CHECK(!options.targets_only || !builder.reads_history());
  if (options_.shuffle) Shuffle(order_, rng_);
}

Status BatchStream::Load() {
  units_.clear();
  next_unit_ = 0;
  std::vector<ShardSet::BlockRef> refs;
  const size_t end = std::min(order_.size(), next_block_ + options_.shuffle_blocks);
  for (; next_block_ < end; ++next_block_) {
    const ShardSet::BlockRef& ref = order_[next_block_];
    if (blocks_.shards().info(ref).targets[static_cast<size_t>(options_.split)] > 0) {
      refs.push_back(ref);
    }
  }
  const std::optional<Split> only =
      options_.targets_only ? std::optional(options_.split) : std::nullopt;
  GRAB_ASSIGN_OR_RETURN(loaded_, blocks_.Load(refs, only));
  groups_.assign(loaded_.size(), {});
  ParallelFor(static_cast<int64_t>(groups_.size()), blocks_.threads(),
              [&](int, int64_t begin_block, int64_t end_block) {
                for (auto b = static_cast<uint32_t>(begin_block); b < end_block; ++b) {
                  for (uint32_t user = 0; user < loaded_[b]->users(); ++user) {
                    PlanUser(*loaded_[b], user, groups_[b]);
                  }
                }
              });
  for (uint32_t b = 0; b < groups_.size(); ++b) {
    for (uint32_t g = 0; g < groups_[b].size(); ++g) units_.push_back({b, g});
  }
  if (options_.shuffle) Shuffle(units_, rng_);
  return absl::OkStatus();
}

void BatchStream::PlanUser(const UserBlock& data, uint32_t user,
                           std::vector<TargetGroup>& groups) const {
  const uint32_t begin = data.user_offsets[user];
  std::vector<uint32_t> targets;
  for (uint32_t i = begin; i < data.user_offsets[user + 1]; ++i) {
    const int64_t request_ms = data.events.request_time_ms[i];
    if (data.events.split[i] == options_.split && request_ms >= options_.request_from_ms &&
        request_ms < options_.request_to_ms) {
      targets.push_back(i);
    }
  }
  if (targets.empty()) return;
  // What follows the last target is in nobody's history.
  const uint32_t end = targets.back() + 1;
  if (options_.impressions) {
    builder_.Plan(data, user, begin, end, targets, 0, groups);
  } else if (options_.window_size == 0 || options_.targets_only) {
    builder_.Plan(data, user, begin, end, targets, options_.batch_tokens, groups);
  } else {
    auto target = targets.begin();
    for (const EventWindow& window :
         PlanWindows(end - begin, options_.window_size, options_.window_train)) {
      const auto last = std::lower_bound(target, targets.end(), begin + window.end);
      if (target == last) continue;
      builder_.Plan(data, user, begin + window.begin, begin + window.end, {target, last},
                    options_.batch_tokens, groups);
      target = last;
    }
  }
}

StatusOr<std::span<const BatchStream::Unit>> BatchStream::Take() {
  while (next_unit_ == units_.size()) {
    if (next_block_ == order_.size()) return std::span<const Unit>();
    GRAB_RETURN_IF_ERROR(Load());
  }
  const size_t first = next_unit_;
  uint64_t tokens = 0;
  while (next_unit_ < units_.size()) {
    const uint64_t more = GroupOf(units_[next_unit_]).tokens;
    if (next_unit_ > first && tokens + more > options_.batch_tokens) break;
    tokens += more;
    ++next_unit_;
  }
  return std::span<const Unit>(units_).subspan(first, next_unit_ - first);
}

StatusOr<std::optional<Batch>> BatchStream::Next() {
  GRAB_ASSIGN_OR_RETURN(const std::span<const Unit> units, Take());
  if (units.empty()) return std::optional<Batch>();
  std::optional<Batch> batch = builder_.Empty();
  for (const Unit& unit : units) builder_.Append(*loaded_[unit.block], GroupOf(unit), *batch);
  return batch;
}

StatusOr<uint64_t> BatchStream::Skip() {
  GRAB_ASSIGN_OR_RETURN(const std::span<const Unit> units, Take());
  uint64_t targets = 0;
  for (const Unit& unit : units) targets += GroupOf(unit).targets.size();
  return targets;
}

struct Prefetcher::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<StatusOr<std::optional<Batch>>> ready;
  bool stop = false;
  std::thread thread;
};

Prefetcher::Prefetcher(BatchStream& stream, size_t depth) : state_(std::make_unique<State>()) {
  GRAB_CHECK(depth > 0);
  state_->thread = std::thread([state = state_.get(), &stream, depth] {
    for (bool more = true; more;) {
      StatusOr<std::optional<Batch>> batch = stream.Next();
      more = batch.ok() && batch->has_value();
      std::unique_lock lock(state->mutex);
      state->changed.wait(lock, [&] { return state->stop || state->ready.size() < depth; });
      if (state->stop) return;
      state->ready.push_back(std::move(batch));
      state->changed.notify_all();
    }
  });
}

Prefetcher::~Prefetcher() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

StatusOr<std::optional<Batch>> Prefetcher::Next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return !state_->ready.empty(); });
  StatusOr<std::optional<Batch>> batch = std::move(state_->ready.front());
  // The end and an error stay: a further call must not wait for a thread that has finished.
  const bool last = !batch.ok() || !batch->has_value();
  if (last) {
    state_->ready.front() = batch.ok() ? StatusOr<std::optional<Batch>>(std::nullopt) : batch;
  } else {
    state_->ready.pop_front();
  }
  state_->changed.notify_all();
  return batch;
}

uint64_t CountTargets(const ShardSet& shards, Split split) {
  uint64_t targets = 0;
  for (const ShardSet::BlockRef& block : shards.blocks()) {
    targets += shards.info(block).targets[static_cast<size_t>(split)];
  }
  return targets;
}

}  // namespace grab
