#include "ranking/user_cache.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include "base/check.h"

namespace grab {
namespace {

constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
constexpr size_t kEvictedKept = 4096;
constexpr auto kUnusedPoll = std::chrono::microseconds(50);

uint64_t NextVersion() {
  static std::atomic<uint64_t> versions{0};
  return ++versions;
}

}  // namespace

UserCache::UserCache(std::shared_ptr<const ServedModel> model, const UserStore& store,
                     std::shared_ptr<LockedCache> cache)
    : model_(std::move(model)),
      store_(store),
      has_history_(!model_->spec().channels.empty()),
      cache_(has_history_ ? std::move(cache) : nullptr),
      version_(NextVersion()) {
  GRAB_CHECK(!has_history_ || cache_ != nullptr);
}

StatusOr<std::unique_ptr<UserCache>> UserCache::Create(std::shared_ptr<const ServedModel> model,
                                                       const UserStore& store,
                                                       std::shared_ptr<LockedCache> cache) {
  std::unique_ptr<UserCache> users(new UserCache(std::move(model), store, std::move(cache)));
  GRAB_ASSIGN_OR_RETURN(users->engine_, users->NewEngine());
  return users;
}

StatusOr<std::unique_ptr<Engine>> UserCache::NewEngine() const {
  return Engine::Create(*model_->packed, version_, has_history_ ? cache_->kv.get() : nullptr);
}

void UserCache::WaitUntilUnused(uint64_t user) const {
  const KvUser* cached = cache_->kv->Peek(version_, user);
  while (cached != nullptr && KvCache::Pins(cached) > 0) std::this_thread::sleep_for(kUnusedPoll);
}

bool UserCache::IsCurrent(const Entry& entry, const std::optional<UserState>& state) const {
  if (!state.has_value()) return entry.generation == 0;
  return entry.generation == state->generation && entry.known.sequence <= state->sequence &&
         state->late_sequence <= entry.known.sequence;
}

std::optional<AcquiredUser> UserCache::AcquireCurrent(uint64_t user) {
  if (!has_history_) return AcquiredUser();
  const std::unique_lock lock(cache_->mutex, std::try_to_lock);
  if (!lock.owns_lock()) return std::nullopt;
  const auto entry = entries_.find(user);
  if (entry == entries_.end() || entry->second.known.degraded) return std::nullopt;
  const StatusOr<std::optional<UserState>> state = store_.Find(user);
  if (!state.ok() || !IsCurrent(entry->second, *state)) return std::nullopt;
  if (state->has_value() && (*state)->sequence != entry->second.known.sequence) return std::nullopt;
  KvUser* const cached = cache_->kv->Find(version_, user);
  if (cached == nullptr) return std::nullopt;
  KvCache::Pin(cached);
  return AcquiredUser{entry->second.known, cached};
}

void UserCache::Release(const AcquiredUser& user) const {
  if (user.pinned != nullptr) KvCache::Unpin(user.pinned);
}

StatusOr<AcquiredUser> UserCache::Acquire(uint64_t user, std::optional<uint64_t> events_max) {
  if (!has_history_) return AcquiredUser();
  const std::scoped_lock lock(cache_->mutex);
  return AcquireLocked(user, events_max);
}

StatusOr<AcquiredUser> UserCache::AcquireLocked(uint64_t user, std::optional<uint64_t> events_max) {
  GRAB_ASSIGN_OR_RETURN(const std::optional<UserState> state, store_.Find(user));
  if (KvUser* const cached = cache_->kv->Find(version_, user); cached != nullptr) {
    Entry& entry = entries_.at(user);
    const bool enough = events_max.has_value() || !entry.known.degraded;
    if (enough && IsCurrent(entry, state)) {
      const Status status = state.has_value() ? AppendNew(user, *state, entry) : absl::OkStatus();
      if (!status.ok()) {
        DropLocked(user);
        return status;
      }
      KvCache::Pin(cached);
      return AcquiredUser{entry.known, cached};
    }
  }
  GRAB_RETURN_IF_ERROR(ReadAnew(user, state, events_max));
  KvUser* const cached = cache_->kv->Peek(version_, user);
  GRAB_CHECK(cached != nullptr);
  KvCache::Pin(cached);
  return AcquiredUser{entries_.at(user).known, cached};
}

Status UserCache::Extend(uint64_t user) {
  if (!has_history_) return absl::OkStatus();
  const std::scoped_lock lock(cache_->mutex);
  const KvUser* cached = cache_->kv->Peek(version_, user);
  // One that is being read is extended when it is ranked next.
  if (cached == nullptr || KvCache::Pins(cached) > 0) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::optional<UserState> state, store_.Find(user));
  Entry& entry = entries_.at(user);
  if (!IsCurrent(entry, state)) {
    DropLocked(user);
    return absl::OkStatus();
  }
  return state.has_value() ? AppendNew(user, *state, entry) : absl::OkStatus();
}

Status UserCache::AppendNew(uint64_t user, const UserState& state, Entry& entry) {
  if (state.sequence == entry.known.sequence) return absl::OkStatus();
  WaitUntilUnused(user);
  UserEvents events;
  events.columns = MakeColumns(store_.schema());
  GRAB_RETURN_IF_ERROR(store_.Read(user, entry.newest, kAll, events));
  if (events.size() > 0) {
    GRAB_RETURN_IF_ERROR(engine_->Append(user, events.columns, 0, events.size()));
    entry.newest = {events.columns.known_time_ms.back(), events.sequence.back()};
    ++extensions_;
  }
  entry.known.sequence = state.sequence;
  return absl::OkStatus();
}

Status UserCache::ReadAnew(uint64_t user, const std::optional<UserState>& state,
                           std::optional<uint64_t> events_max) {
  DropLocked(user);
  UserEvents events;
  events.columns = MakeColumns(store_.schema());
  if (state.has_value()) {
    GRAB_RETURN_IF_ERROR(store_.Read(user, std::nullopt, events_max.value_or(kAll), events));
  }
  GRAB_RETURN_IF_ERROR(engine_->Prefill(user, events.columns, 0, events.size()));
  ++prefills_;
  Entry entry;
  entry.known.events_read = events.size();
  if (state.has_value()) {
    entry.generation = state->generation;
    entry.known.sequence = state->sequence;
    entry.known.degraded = events_max.has_value() && state->events > *events_max;
  }
  // An event of the past that comes when nothing is there is after it too.
  entry.newest = {std::numeric_limits<int64_t>::min(), 0};
  if (events.size() > 0) {
    entry.newest = {events.columns.known_time_ms.back(), events.sequence.back()};
  }
  entries_[user] = entry;
  ForgetEvicted();
  return absl::OkStatus();
}

void UserCache::ForgetEvicted() {
  if (entries_.size() <= 2 * cache_->kv->Stats().users + kEvictedKept) return;
  absl::erase_if(entries_, [this](const auto& entry) { return !engine_->Cached(entry.first); });
}

Status UserCache::ScorePast(const ScoreRequest& request, absl::Span<float> logits) {
  GRAB_CHECK(has_history_);
  const std::scoped_lock lock(cache_->mutex);
  DropLocked(request.user);
  UserEvents events;
  events.columns = MakeColumns(store_.schema());
  GRAB_RETURN_IF_ERROR(store_.Read(request.user, std::nullopt, kAll, events));
  const std::vector<int64_t>& request_ms = request.events->request_time_ms;
  const int64_t newest_ms =
      *std::max_element(request_ms.begin() + static_cast<ptrdiff_t>(request.begin),
                        request_ms.begin() + static_cast<ptrdiff_t>(request.end));
  const std::vector<int64_t>& known_ms = events.columns.known_time_ms;
  const auto count = static_cast<size_t>(
      std::lower_bound(known_ms.begin(), known_ms.end(), newest_ms) - known_ms.begin());
  GRAB_RETURN_IF_ERROR(engine_->Prefill(request.user, events.columns, 0, count));
  ++prefills_;
  const Status status = engine_->Score({&request, 1}, logits);
  engine_->Drop(request.user);
  return status;
}

void UserCache::DropLocked(uint64_t user) {
  WaitUntilUnused(user);
  engine_->Drop(user);
  entries_.erase(user);
}

void UserCache::Drop(uint64_t user) {
  if (!has_history_) return;
  const std::scoped_lock lock(cache_->mutex);
  DropLocked(user);
}

}  // namespace grab
