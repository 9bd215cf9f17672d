// Takes what the trainer releases: loads it, lets the canary speak, swaps it in; refuses what is
// not right and keeps what serves.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "ranking/ranker.h"
#include "server/canary.h"

namespace grab {

class ModelWatcher {
 public:
  // What became of a release. Called by the watching thread, and by Poll's caller.
  using OnRelease = std::function<void(size_t arm, uint64_t step, const Status&)>;

  // Watches `dir` for arm `arm`. `canary` may be null; it and `ranker` must outlive it.
  ModelWatcher(std::string dir, size_t arm, Ranker& ranker, const Canary* canary,
               OnRelease on_release);
  ~ModelWatcher();
  ModelWatcher(const ModelWatcher&) = delete;
  ModelWatcher& operator=(const ModelWatcher&) = delete;

  // The newest usable model of `dir`, a folder of releases or one release; not yet serving.
  // NotFound and others say why there is none.
  static StatusOr<std::shared_ptr<const ServedModel>> LoadFirst(const std::string& dir,
                                                                const Canary* canary);

  // Lets `model` serve, and from then on looks for newer ones every `poll_s`.
  Status Start(std::shared_ptr<const ServedModel> model, double poll_s);
  // Looks now. A release that was refused is not looked at again until its files change.
  void Poll();

 private:
  Status Take(uint64_t step);

  const std::string dir_;
  const size_t arm_;
  Ranker& ranker_;
  const Canary* const canary_;
  const OnRelease on_release_;
  std::mutex poll_mutex_;  // of what is below
  uint64_t step_ = 0;
  std::map<uint64_t, uint64_t> refused_;  // step -> state of its files

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace grab
