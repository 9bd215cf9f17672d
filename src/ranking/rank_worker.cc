#include "ranking/rank_worker.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/threads.h"

namespace grab {
namespace {

double Seconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

SteadyTime Now() { return std::chrono::steady_clock::now(); }

std::chrono::steady_clock::duration Duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

// How fast the cost of a candidate forgets.
constexpr double kCostDecay = 0.1;
// Jobs whose user is not cached; they wait apart so that the others are not held up.
constexpr size_t kColdMax = 4096;

void Learn(double seconds, std::atomic<double>& cost) {
  const double before = cost.load();
  cost.store(before == 0.0 ? seconds : before + kCostDecay * (seconds - before));
}

void Add(const KvCacheStats& from, KvCacheStats& to) {
  to.bytes_max += from.bytes_max;
  to.bytes += from.bytes;
  to.users += from.users;
  to.hits += from.hits;
  to.misses += from.misses;
  to.evictions += from.evictions;
}

void Probabilities(absl::Span<const float> logits, std::vector<float>& out) {
  out.clear();
  out.reserve(logits.size());
  for (const float logit : logits) {
    out.push_back(static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logit)))));
  }
}

}  // namespace

RankWorker::RankWorker(const RankerOptions& options, size_t cache_bytes, const UserStore& store)
    : options_(options),
      cache_bytes_(options.two_arms ? cache_bytes / kArms : cache_bytes),
      store_(store),
      thread_([this] { Loop(); }) {}

RankWorker::~RankWorker() { GRAB_CHECK(!thread_.joinable()); }

void RankWorker::TellToStop() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
}

void RankWorker::Join() { thread_.join(); }

double RankWorker::WaitEstimate() const {
  return static_cast<double>(queued_candidates_) * seconds_per_candidate_.load() +
         static_cast<double>(cold_waiting_.load()) * seconds_per_cold_.load();
}

bool RankWorker::UnderPressure() const {
  return WaitEstimate() > options_.degraded_from * options_.queue_wait_max_s;
}

Status RankWorker::Admit(size_t candidates, SteadyTime deadline, SteadyTime now) const {
  if (stop_) return absl::UnavailableError("the server is stopping");
  const double wait_s = WaitEstimate();
  const bool too_late =
      wait_s > 0.0 && deadline != SteadyTime::max() && now + Duration(wait_s) > deadline;
  const bool too_many =
      queued_candidates_ > 0 && queued_candidates_ + candidates > options_.queue_candidates_max;
  if (!too_late && !too_many && wait_s <= options_.queue_wait_max_s) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("past capacity: ", queued_candidates_, " candidates wait, for about ",
                   static_cast<int64_t>(wait_s * 1000.0), " ms; try again later or elsewhere"));
}

void RankWorker::SetPeers(const std::vector<std::unique_ptr<RankWorker>>& peers) {
  const auto self = std::find_if(peers.begin(), peers.end(),
                                 [this](const auto& peer) { return peer.get() == this; });
  for (auto next = self + 1; next != peers.end(); ++next) peers_.push_back(next->get());
  for (auto next = peers.begin(); next != self; ++next) peers_.push_back(next->get());
}

void RankWorker::Submit(RankJob job) {
  const SteadyTime now = Now();
  RankResult refused;
  std::unique_lock lock(mutex_);
  refused.status = Admit(job.candidates.size(), job.deadline, now);
  if (!refused.status.ok()) {
    lock.unlock();
    ++refused_;
    return job.done(std::move(refused));
  }
  queued_candidates_ += job.candidates.size();
  queue_.push_back({std::move(job), now});
  const bool busy = !idle_;
  lock.unlock();
  wake_.notify_one();
  if (!busy) return;
  for (RankWorker* peer : peers_) {
    if (peer->AskForHelp()) return;
  }
}

bool RankWorker::AskForHelp() {
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_ || help_) return false;
    help_ = true;
  }
  wake_.notify_one();
  return true;
}

Status RankWorker::CheckCapacity(size_t candidates, SteadyTime deadline) {
  Status status;
  {
    const std::scoped_lock lock(mutex_);
    status = Admit(candidates, deadline, Now());
  }
  if (!status.ok()) ++refused_;
  return status;
}

void RankWorker::Notify(uint64_t user) {
  {
    const std::scoped_lock lock(mutex_);
    if (pending_.size() >= options_.pending_max) {
      ++extensions_dropped_;
      return;
    }
    if (!pending_set_.insert(user).second) return;
    pending_.push_back(user);
    if (pending_.size() > 1) return;
  }
  wake_.notify_one();
}

void RankWorker::Forget(uint64_t user) {
  {
    const std::scoped_lock lock(mutex_);
    forget_.push_back(user);
  }
  wake_.notify_one();
}

Status RankWorker::SetModel(size_t arm, std::shared_ptr<const ServedModel> model) {
  Swap swap;
  swap.arm = arm;
  swap.model = std::move(model);
  std::unique_lock lock(mutex_);
  GRAB_CHECK(swap_ == nullptr);
  swap_ = &swap;
  wake_.notify_one();
  swapped_.wait(lock, [&] { return swap.done; });
  swap_ = nullptr;
  return swap.status;
}

bool RankWorker::HasWork() const {
  return stop_ || help_ || !queue_.empty() || !cold_.empty() || !pending_.empty() ||
         !forget_.empty() || (swap_ != nullptr && !swap_->done);
}

RankWorker::Work RankWorker::Take() {
  Work work;
  std::unique_lock lock(mutex_);
  idle_ = true;
  wake_.wait(lock, [this] { return HasWork(); });
  idle_ = false;
  help_ = false;
  const auto batch_is_full = [this] {
    return stop_ || queued_candidates_ >= static_cast<size_t>(options_.batch_candidates_max);
  };
  if (options_.batch_wait_s > 0.0 && !queue_.empty() && cold_.empty()) {
    wake_.wait_until(lock, queue_.front().since + Duration(options_.batch_wait_s), batch_is_full);
  }
  int64_t candidates = 0;
  while (!queue_.empty() && candidates < options_.batch_candidates_max) {
    const auto size = static_cast<int64_t>(queue_.front().job.candidates.size());
    if (candidates > 0 && candidates + size > options_.batch_candidates_max) break;
    candidates += size;
    queued_candidates_ -= static_cast<size_t>(size);
    work.jobs.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  work.forget.swap(forget_);
  if (!pending_.empty() && !UnderPressure()) {
    work.extend = pending_.front();
    pending_.pop_front();
    pending_set_.erase(*work.extend);
  }
  work.stop = stop_ && queue_.empty() && cold_.empty() && work.jobs.empty();
  return work;
}

void RankWorker::Loop() {
  LetWakingThreadsPass();
  for (;;) {
    Work work = Take();
    if (work.stop) break;
    for (const uint64_t user : work.forget) {
      for (Arm& arm : arms_) {
        if (arm.users != nullptr) arm.users->Drop(user);
      }
    }
    AdvanceSwap();
    Serve(std::move(work.jobs));
    if (!cold_.empty()) ServeCold();
    if (work.extend.has_value()) Extend(*work.extend);
    HelpOthers();
    PublishStats();
  }
  const std::scoped_lock lock(mutex_);
  ended_ = true;
}

void RankWorker::Extend(uint64_t user) {
  for (Arm& arm : arms_) {
    // One that cannot be extended is read anew when it is ranked.
    if (arm.users != nullptr && !arm.users->Extend(user).ok()) arm.users->Drop(user);
  }
}

void RankWorker::AdvanceSwap() {
  Swap* swap = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (swap_ != nullptr && !swap_->done) swap = swap_;
  }
  if (swap == nullptr) return;
  if (swap->next.users == nullptr) {
    swap->status = BeginSwap(*swap);
    if (!swap->status.ok()) FinishSwap(*swap);
  } else if (!swap->to_warm.empty() && Now() < swap->warm_until) {
    const uint64_t user = swap->to_warm.back();
    swap->to_warm.pop_back();
    const StatusOr<AcquiredUser> acquired = swap->next.users->Acquire(user, std::nullopt);
    if (acquired.ok()) swap->next.users->Release(*acquired);
  } else {
    TakeOver(*swap);
    FinishSwap(*swap);
  }
}

Status RankWorker::BeginSwap(Swap& swap) {
  const Arm& arm = arms_[swap.arm];
  const bool has_history = !swap.model->spec().channels.empty();
  std::shared_ptr<LockedCache> cache;
  if (has_history) {
    const KvCacheOptions options = Engine::CacheOptions(*swap.model->packed, cache_bytes_);
    if (arm.cache != nullptr && options.page_bytes == arm.cache_options.page_bytes &&
        options.channels == arm.cache_options.channels) {
      cache = arm.cache;
    } else {
      // Pages are resident once they are used: beside the old cache it takes what it warms.
      cache = std::make_shared<LockedCache>();
      GRAB_ASSIGN_OR_RETURN(cache->kv, KvCache::Create(options));
      swap.next.cache = cache;
      swap.next.cache_options = options;
    }
  }
  GRAB_ASSIGN_OR_RETURN(swap.next.users, UserCache::Create(swap.model, store_, cache));
  if (arm.users != nullptr && has_history) {
    const std::scoped_lock lock(mutex_);
    swap.to_warm = recent_;
  }
  swap.warm_until = Now() + Duration(options_.warm_s_max);
  return absl::OkStatus();
}

void RankWorker::TakeOver(Swap& swap) {
  Arm& arm = arms_[swap.arm];
  if (arm.users != nullptr) {
    prefills_retired_ += arm.users->prefills();
    extensions_retired_ += arm.users->extensions();
  }
  arm.users = std::move(swap.next.users);
  {
    const std::scoped_lock lock(mutex_);
    lent_users_[swap.arm] = arm.users;
  }
  if (swap.next.cache == nullptr) return;
  arm.cache = std::move(swap.next.cache);
  arm.cache_options = swap.next.cache_options;
}

void RankWorker::FinishSwap(Swap& swap) {
  PublishStats();
  const std::scoped_lock lock(mutex_);
  swap.done = true;
  swapped_.notify_all();
}

bool RankWorker::Dead(const Queued& queued, RankResult& result) const {
  if (queued.job.deadline <= Now()) {
    result.status = absl::DeadlineExceededError("the deadline passed before it was scored");
  } else if (queued.job.cancelled && queued.job.cancelled()) {
    result.status = absl::CancelledError("the caller gave up");
  } else if (arms_[queued.job.arm].users == nullptr) {
    result.status = absl::UnavailableError("no model is loaded");
  }
  return !result.status.ok();
}

std::optional<uint64_t> RankWorker::EventsMax() const {
  const std::scoped_lock lock(mutex_);
  return UnderPressure() ? std::optional<uint64_t>(options_.degraded_events) : std::nullopt;
}

void RankWorker::WaitCold(Queued queued) {
  if (cold_.size() < kColdMax) {
    cold_.push_back(std::move(queued));
    cold_waiting_ = cold_.size();
    return;
  }
  RankResult result;
  result.status = absl::ResourceExhaustedError("too many users that are not cached wait");
  Answer(queued, std::move(result));
}

void RankWorker::Serve(std::vector<Queued> jobs) {
  if (jobs.empty()) return;
  const SteadyTime begin = Now();
  const std::optional<uint64_t> events_max = EventsMax();
  std::array<Batch, kArms> batches;
  size_t candidates = 0;
  for (Queued& queued : jobs) {
    Arm& arm = arms_[queued.job.arm];
    if (arm.users != nullptr && !arm.users->Cached(queued.job.user)) {
      WaitCold(std::move(queued));
    } else {
      AddToBatch(arm, std::move(queued), events_max,
                 batches[static_cast<size_t>(&arm - &arms_[0])]);
    }
  }
  for (size_t arm = 0; arm < kArms; ++arm) {
    candidates += batches[arm].candidates;
    if (!batches[arm].jobs.empty()) ScoreBatch(arms_[arm], batches[arm]);
  }
  if (candidates == 0) return;
  Learn(Seconds(begin, Now()) / static_cast<double>(candidates), seconds_per_candidate_);
}

void RankWorker::ServeCold() {
  const SteadyTime begin = Now();
  Queued queued = std::move(cold_.front());
  cold_.pop_front();
  cold_waiting_ = cold_.size();  // a lone one is no pressure
  Arm& arm = arms_[queued.job.arm];
  Batch batch;
  AddToBatch(arm, std::move(queued), EventsMax(), batch);
  if (!batch.jobs.empty()) {
    ScoreBatch(arm, batch);
    Learn(Seconds(begin, Now()), seconds_per_cold_);
  }
}

void RankWorker::AddToBatch(Arm& arm, Queued queued, std::optional<uint64_t> events_max,
                            Batch& batch) {
  RankResult result;
  if (Dead(queued, result)) return Answer(queued, std::move(result));
  const uint64_t user = queued.job.user;
  const SteadyTime begin = Now();
  result.queued_s = Seconds(queued.since, begin);
  result.model = arm.users->model();
  const auto found = batch.acquired.find(user);
  if (found != batch.acquired.end()) {
    result.history = found->second.known;
  } else {
    const StatusOr<AcquiredUser> acquired = arm.users->Acquire(user, events_max);
    if (absl::IsResourceExhausted(acquired.status()) && !batch.acquired.empty()) {
      return WaitCold(std::move(queued));  // alone it may fit
    }
    if (!acquired.ok()) {
      result.status = acquired.status();
      return Answer(queued, std::move(result));
    }
    batch.acquired[user] = *acquired;
    result.history = acquired->known;
  }
  result.history_s = Seconds(begin, Now());
  batch.candidates += queued.job.candidates.size();
  batch.jobs.push_back(std::move(queued));
  batch.results.push_back(std::move(result));
}

void RankWorker::ScoreBatch(Arm& arm, Batch& batch) {
  const SteadyTime begin = Now();
  ScoreTogether(arm, batch);
  for (const auto& [user, acquired] : batch.acquired) arm.users->Release(acquired);
  for (size_t i = 0; i < batch.jobs.size(); ++i) {
    RankResult& result = batch.results[i];
    if (absl::IsFailedPrecondition(result.status)) ScorePast(arm, batch.jobs[i], result);
    result.score_s = Seconds(begin, Now());
    Remember(batch.jobs[i].job.user);
    Answer(batch.jobs[i], std::move(result));
  }
  ++stats_.batches;
}

void RankWorker::ScoreTogether(Arm& arm, Batch& batch) {
  std::vector<ScoreRequest> requests;
  std::vector<KvUser*> users;
  for (const Queued& queued : batch.jobs) {
    requests.push_back({queued.job.user, &queued.job.candidates, 0, queued.job.candidates.size()});
    users.push_back(batch.acquired.at(queued.job.user).pinned);
  }
  const size_t tasks = arm.users->model()->spec().tasks.size();
  std::vector<float> logits(batch.candidates * tasks);
  const Status together = arm.users->Score(requests, users, absl::MakeSpan(logits));
  size_t at = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const absl::Span<float> own(logits.data() + at, requests[i].end * tasks);
    at += own.size();
    RankResult& result = batch.results[i];
    // One that cannot be scored must not fail the others.
    result.status =
        together.ok() ? together : arm.users->Score({&requests[i], 1}, {&users[i], 1}, own);
    if (result.status.ok()) Probabilities(own, result.probabilities);
  }
}

void RankWorker::ScorePast(Arm& arm, const Queued& queued, RankResult& result) {
  const EventColumns& candidates = queued.job.candidates;
  std::vector<float> logits(candidates.size() * arm.users->model()->spec().tasks.size());
  result.status = arm.users->ScorePast({queued.job.user, &candidates, 0, candidates.size()},
                                       absl::MakeSpan(logits));
  if (result.status.ok()) Probabilities(logits, result.probabilities);
}

std::optional<RankWorker::Lent> RankWorker::Lend() {
  const std::scoped_lock lock(mutex_);
  if (queue_.empty() || queue_.front().stays) return std::nullopt;
  const std::shared_ptr<UserCache>& users = lent_users_[queue_.front().job.arm];
  if (users == nullptr) return std::nullopt;
  const std::optional<AcquiredUser> acquired = users->AcquireCurrent(queue_.front().job.user);
  if (!acquired.has_value()) return std::nullopt;
  Lent lent{std::move(queue_.front()), users, *acquired};
  queue_.pop_front();
  queued_candidates_ -= lent.queued.job.candidates.size();
  return lent;
}

void RankWorker::TakeBack(Queued queued) {
  queued.stays = true;
  {
    const std::scoped_lock lock(mutex_);
    if (!ended_) {
      queued_candidates_ += queued.job.candidates.size();
      queue_.push_front(std::move(queued));
      wake_.notify_one();
      return;
    }
  }
  RankResult result;
  result.status = absl::UnavailableError("the server is stopping");
  Answer(queued, std::move(result));
}

void RankWorker::HelpOthers() {
  const auto has_own = [this] {
    const std::scoped_lock lock(mutex_);
    return HasWork();
  };
  for (bool helped = true; helped && !has_own();) {
    helped = false;
    for (RankWorker* peer : peers_) {
      std::optional<Lent> lent = peer->Lend();
      if (!lent.has_value()) continue;
      ScoreLent(*peer, *std::move(lent));
      helped = true;
      if (has_own()) break;
    }
  }
}

void RankWorker::ScoreLent(RankWorker& owner, Lent lent) {
  RankResult result;
  const SteadyTime begin = Now();
  RankJob& job = lent.queued.job;
  result.queued_s = Seconds(lent.queued.since, begin);
  result.model = lent.users->model();
  result.history = lent.acquired.known;
  if (!Dead(lent.queued, result)) {
    std::vector<float> logits(job.candidates.size() * result.model->spec().tasks.size());
    const StatusOr<Engine*> engine = HelperFor(lent.users);
    const ScoreRequest request{job.user, &job.candidates, 0, job.candidates.size()};
    result.status = engine.ok() ? (*engine)->ScorePinned({&request, 1}, {&lent.acquired.pinned, 1},
                                                         absl::MakeSpan(logits))
                                : engine.status();
    if (result.status.ok()) Probabilities(logits, result.probabilities);
  }
  lent.users->Release(lent.acquired);
  // Older than what is cached: only the owner may read the history anew.
  if (absl::IsFailedPrecondition(result.status)) return owner.TakeBack(std::move(lent.queued));
  result.score_s = Seconds(begin, Now());
  owner.Remember(job.user);
  ++stats_.batches;
  ++stats_.helped;
  Answer(lent.queued, std::move(result));
}

StatusOr<Engine*> RankWorker::HelperFor(const std::shared_ptr<UserCache>& users) {
  Helper& helper = helpers_[users->version()];
  if (helper.engine == nullptr) {
    GRAB_ASSIGN_OR_RETURN(helper.engine, users->NewEngine());
    helper.users = users;
    Engine* const made = helper.engine.get();
    // Those of models that are gone.
    absl::erase_if(helpers_, [](const auto& entry) { return entry.second.users.use_count() <= 1; });
    return made;
  }
  return helper.engine.get();
}

void RankWorker::Answer(Queued& queued, RankResult result) {
  if (result.status.ok()) {
    ++stats_.ranked;
    stats_.candidates += queued.job.candidates.size();
    if (result.history.degraded) ++stats_.degraded_answers;
  } else if (absl::IsDeadlineExceeded(result.status)) {
    ++stats_.expired;
  } else if (absl::IsCancelled(result.status)) {
    ++stats_.cancelled;
  } else {
    ++stats_.failed;
  }
  queued.job.done(std::move(result));
}

void RankWorker::Remember(uint64_t user) {
  if (options_.warm_users == 0) return;
  const std::scoped_lock lock(mutex_);
  if (recent_.size() < options_.warm_users) {
    recent_.push_back(user);
    return;
  }
  recent_[recent_next_] = user;
  recent_next_ = (recent_next_ + 1) % recent_.size();
}

void RankWorker::PublishStats() {
  stats_.cache = {};
  stats_.prefills = prefills_retired_;
  stats_.extensions = extensions_retired_;
  for (const Arm& arm : arms_) {
    if (arm.users != nullptr) {
      stats_.prefills += arm.users->prefills();
      stats_.extensions += arm.users->extensions();
    }
    if (arm.cache == nullptr) continue;
    const std::scoped_lock cache_lock(arm.cache->mutex);
    Add(arm.cache->kv->Stats(), stats_.cache);
  }
  const std::scoped_lock lock(mutex_);
  published_ = stats_;
}

void RankWorker::AddStats(RankerStats& stats) const {
  const std::scoped_lock lock(mutex_);
  stats.queued_candidates += queued_candidates_;
  stats.degraded = stats.degraded || UnderPressure();
  Add(published_.cache, stats.cache);
  stats.ranked += published_.ranked;
  stats.candidates += published_.candidates;
  stats.batches += published_.batches;
  stats.helped += published_.helped;
  stats.refused += refused_.load();
  stats.expired += published_.expired;
  stats.cancelled += published_.cancelled;
  stats.failed += published_.failed;
  stats.degraded_answers += published_.degraded_answers;
  stats.prefills += published_.prefills;
  stats.extensions += published_.extensions;
  stats.extensions_dropped += extensions_dropped_.load();
}

}  // namespace grab
