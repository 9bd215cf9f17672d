#include "ranking/ranker.h"

#include "base/check.h"
#include "ranking/rank_worker.h"

namespace grab {
namespace {

Status CheckOptions(const RankerOptions& options) {
  if (options.workers < 1 || options.batch_candidates_max < 1 || options.queue_wait_max_s <= 0.0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ranker: expected workers, batch_candidates_max >= 1 and queue_wait_max_s > 0, got ",
        options.workers, ", ", options.batch_candidates_max, " and ", options.queue_wait_max_s));
  }
  return absl::OkStatus();
}

}  // namespace

Ranker::Ranker(const RankerOptions& options, const UserStore& store)
    : options_(options), store_(store) {}

StatusOr<std::unique_ptr<Ranker>> Ranker::Create(const RankerOptions& options,
                                                 const UserStore& store) {
  GRAB_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<Ranker> ranker(new Ranker(options, store));
  const size_t cache_bytes = options.cache_bytes / static_cast<size_t>(options.workers);
  for (int i = 0; i < options.workers; ++i) {
    ranker->workers_.push_back(std::make_unique<RankWorker>(options, cache_bytes, store));
  }
  for (const auto& worker : ranker->workers_) worker->SetPeers(ranker->workers_);
  return ranker;
}

Ranker::~Ranker() {
  for (const auto& worker : workers_) worker->TellToStop();
  for (const auto& worker : workers_) worker->Join();
}

RankWorker& Ranker::WorkerOf(uint64_t user) const { return *workers_[user % workers_.size()]; }

Status Ranker::SetModel(size_t arm, std::shared_ptr<const ServedModel> model) {
  GRAB_CHECK(arm < (options_.two_arms ? kArms : 1));
  const std::scoped_lock lock(set_model_);
  if (model->spec().tokens.schema != store_.schema()) {
    return absl::FailedPreconditionError(absl::StrCat(
        model->loaded.dir, ": its events follow another schema than the state: expected ",
        store_.schema().ToJson(), ", got ", model->spec().tokens.schema.ToJson()));
  }
  const std::shared_ptr<const ServedModel> old = this->model(arm);
  Status status;
  for (size_t w = 0; w < workers_.size() && status.ok(); ++w) {
    status = workers_[w]->SetModel(arm, model);
    if (status.ok() || old == nullptr) continue;
    // Those that moved on go back, so that all answer with one model.
    for (size_t back = 0; back < w; ++back) {
      GRAB_RETURN_IF_ERROR(workers_[back]->SetModel(arm, old));
    }
  }
  GRAB_RETURN_IF_ERROR(Annotate(status, model->loaded.dir));
  const std::scoped_lock models_lock(models_mutex_);
  models_[arm] = std::move(model);
  return absl::OkStatus();
}

std::shared_ptr<const ServedModel> Ranker::model(size_t arm) const {
  const std::scoped_lock lock(models_mutex_);
  return models_[arm];
}

void Ranker::Submit(RankJob job) {
  GRAB_CHECK(job.arm < kArms);
  RankWorker& worker = WorkerOf(job.user);
  worker.Submit(std::move(job));
}

Status Ranker::CheckCapacity(uint64_t user, size_t candidates, SteadyTime deadline) {
  return WorkerOf(user).CheckCapacity(candidates, deadline);
}

void Ranker::Notify(uint64_t user) { WorkerOf(user).Notify(user); }

void Ranker::Forget(uint64_t user) { WorkerOf(user).Forget(user); }

RankerStats Ranker::Stats() const {
  RankerStats stats;
  for (const std::unique_ptr<RankWorker>& worker : workers_) worker->AddStats(stats);
  return stats;
}

}  // namespace grab
