#include "server/model_watcher.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"

namespace grab {
namespace {

StatusOr<std::shared_ptr<const ServedModel>> LoadChecked(const std::string& path,
                                                         const Canary* canary) {
  GRAB_ASSIGN_OR_RETURN(std::shared_ptr<const ServedModel> model, LoadServedModel(path));
  if (canary != nullptr) GRAB_RETURN_IF_ERROR(canary->Check(*model));
  return model;
}

// Of names, sizes and times of change: another value once a copy under way has gone on.
uint64_t StateOfFiles(const std::string& dir) {
  std::string text;
  for (const std::string& name : ListDirectory(dir).value_or(std::vector<std::string>())) {
    std::error_code gone;
    const std::filesystem::path file(JoinPath(dir, name));
    absl::StrAppend(&text, name, " ", std::filesystem::file_size(file, gone), " ",
                    std::filesystem::last_write_time(file, gone).time_since_epoch().count(), "\n");
  }
  return HashId(text);
}

}  // namespace

ModelWatcher::ModelWatcher(std::string dir, size_t arm, Ranker& ranker, const Canary* canary,
                           OnRelease on_release)
    : dir_(std::move(dir)),
      arm_(arm),
      ranker_(ranker),
      canary_(canary),
      on_release_(std::move(on_release)) {}

ModelWatcher::~ModelWatcher() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

StatusOr<std::shared_ptr<const ServedModel>> ModelWatcher::LoadFirst(const std::string& dir,
                                                                     const Canary* canary) {
  GRAB_ASSIGN_OR_RETURN(std::vector<uint64_t> steps, CheckpointSteps(dir));
  if (steps.empty()) return LoadChecked(dir, canary);
  std::string reasons;
  for (; !steps.empty(); steps.pop_back()) {
    auto model = LoadChecked(CheckpointPath(dir, steps.back()), canary);
    if (model.ok()) return model;
    absl::StrAppend(&reasons, "; ", model.status().message());
  }
  return absl::NotFoundError(absl::StrCat(dir, ": none of its models can serve", reasons));
}

Status ModelWatcher::Start(std::shared_ptr<const ServedModel> model, double poll_s) {
  step_ = model->loaded.step;
  GRAB_RETURN_IF_ERROR(ranker_.SetModel(arm_, std::move(model)));
  const std::chrono::duration<double> poll(poll_s);
  thread_ = std::thread([this, poll] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, poll, [&] { return stop_; })) {
      lock.unlock();
      Poll();
      lock.lock();
    }
  });
  return absl::OkStatus();
}

Status ModelWatcher::Take(uint64_t step) {
  GRAB_ASSIGN_OR_RETURN(std::shared_ptr<const ServedModel> model,
                        LoadChecked(CheckpointPath(dir_, step), canary_));
  return ranker_.SetModel(arm_, std::move(model));
}

void ModelWatcher::Poll() {
  const std::scoped_lock lock(poll_mutex_);
  // A folder that cannot be listed for a moment has nothing new.
  StatusOr<std::vector<uint64_t>> steps = CheckpointSteps(dir_);
  if (!steps.ok()) return;
  for (; !steps->empty() && steps->back() > step_; steps->pop_back()) {
    const uint64_t step = steps->back();
    const uint64_t files = StateOfFiles(CheckpointPath(dir_, step));
    const auto refused = refused_.find(step);
    if (refused != refused_.end() && refused->second == files) continue;
    const Status status = Take(step);
    on_release_(arm_, step, status);
    if (status.ok()) {
      step_ = step;
      refused_.clear();
      return;
    }
    refused_[step] = files;
  }
}

}  // namespace grab
