#include "serve/replay.h"

#include <algorithm>

#include "base/hash.h"

namespace grab {
namespace {

class Replay {
 public:
  Replay(Engine& engine, const UserBlock& block, uint32_t user)
      : engine_(engine),
        events_(block.events),
        key_(HashId(block.user_id[user])),
        begin_(block.user_offsets[user]),
        next_(begin_),
        end_(block.user_offsets[user + 1]) {}
  ~Replay() { engine_.Drop(key_); }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  // Makes the history what was known strictly before `time_ms`; times ascend from call to call.
  Status AdvanceTo(int64_t time_ms) {
    const auto known = events_.known_time_ms.begin();
    const size_t before =
        static_cast<size_t>(std::lower_bound(known + static_cast<ptrdiff_t>(next_),
                                             known + static_cast<ptrdiff_t>(end_), time_ms) -
                            known);
    const Status status = prefilled_ ? engine_.Append(key_, events_, next_, before)
                                     : engine_.Prefill(key_, events_, begin_, before);
    prefilled_ = true;
    next_ = before;
    return status;
  }

  Status Score(const uint32_t* targets, size_t count, std::vector<float>& logits) {
    requests_.clear();
    for (size_t i = 0; i < count; ++i) {
      requests_.push_back({key_, &events_, targets[i], targets[i] + size_t{1}});
    }
    return engine_.Score(requests_, absl::MakeSpan(logits));
  }

 private:
  Engine& engine_;
  const EventColumns& events_;
  uint64_t key_;
  size_t begin_, next_, end_;
  bool prefilled_ = false;
  std::vector<ScoreRequest> requests_;
};

}  // namespace

Status ReplayUser(Engine& engine, const UserBlock& block, uint32_t user,
                  const std::vector<uint32_t>& targets, float* logits) {
  const std::vector<int64_t>& request_ms = block.events.request_time_ms;
  std::vector<uint32_t> order(targets.size());  // places in `targets`, by request
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return request_ms[targets[a]] < request_ms[targets[b]];
  });
  Replay replay(engine, block, user);
  const size_t tasks = engine.tasks();
  std::vector<uint32_t> page;  // targets of one request time
  std::vector<float> page_logits;
  for (size_t i = 0; i < order.size(); i += page.size()) {
    const int64_t time_ms = request_ms[targets[order[i]]];
    page.clear();
    for (size_t j = i; j < order.size() && request_ms[targets[order[j]]] == time_ms; ++j) {
      page.push_back(targets[order[j]]);
    }
    page_logits.resize(page.size() * tasks);
    GRAB_RETURN_IF_ERROR(replay.AdvanceTo(time_ms));
    GRAB_RETURN_IF_ERROR(replay.Score(page.data(), page.size(), page_logits));
    for (size_t j = 0; j < page.size(); ++j) {
      std::copy_n(page_logits.data() + j * tasks, tasks, logits + order[i + j] * tasks);
    }
  }
  return absl::OkStatus();
}

}  // namespace grab
