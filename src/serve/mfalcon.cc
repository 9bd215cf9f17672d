// Score of serve/engine.h: candidates in micro-batches against cached keys and values. The rows of
// all requests go through the dense layers together; only attention goes user by user.
#include <algorithm>

#include "base/check.h"
#include "serve/engine.h"

namespace grab {

Status Engine::Score(absl::Span<const ScoreRequest> requests, absl::Span<float> logits) {
  Status status = FindUsers(requests);
  if (status.ok()) status = ScorePinned(requests, users_, logits);
  UnpinUsers();
  return status;
}

Status Engine::FindUsers(absl::Span<const ScoreRequest> requests) {
  users_.clear();
  for (const ScoreRequest& request : requests) {
    KvUser* found = nullptr;
    if (cache_ != nullptr) {
      found = cache_->Peek(version_, request.user);
      if (found == nullptr) {
        return absl::NotFoundError(absl::StrCat("user ", request.user, " is not cached"));
      }
      cache_->Touch(found);
      cache_->Pin(found);
    }
    users_.push_back(found);
  }
  return absl::OkStatus();
}

void Engine::UnpinUsers() {
  for (KvUser* user : users_) {
    if (user != nullptr) cache_->Unpin(user);
  }
  users_.clear();
}

Status Engine::ScorePinned(absl::Span<const ScoreRequest> requests, absl::Span<KvUser* const> users,
                           absl::Span<float> logits) {
  GRAB_CHECK(users.size() == requests.size());
  size_t candidates = 0;
  for (const ScoreRequest& request : requests) {
    GRAB_CHECK(request.begin <= request.end && request.end <= request.events->size());
    candidates += request.end - request.begin;
  }
  GRAB_CHECK(logits.size() == candidates * model_.spec().tasks.size());
  float* out = logits.data();
  int64_t rows = 0;
  const auto flush = [&] {
    GRAB_RETURN_IF_ERROR(ScoreMicroBatch(rows, out));
    out += rows * static_cast<int64_t>(model_.spec().tasks.size());
    rows = 0;
    segments_.clear();
    return absl::OkStatus();
  };
  segments_.clear();
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t candidate = requests[i].begin; candidate < requests[i].end;) {
      const int64_t count =
          std::min(rows_max_ - rows, static_cast<int64_t>(requests[i].end - candidate));
      segments_.push_back({users[i], &requests[i], candidate, rows, count});
      rows += count;
      candidate += static_cast<size_t>(count);
      if (rows == rows_max_) GRAB_RETURN_IF_ERROR(flush());
    }
  }
  return rows > 0 ? flush() : absl::OkStatus();
}

Status Engine::FindVisible() {
  for (const Segment& segment : segments_) {
    const EventColumns& events = *segment.request->events;
    for (size_t c = 0; c < model_.spec().channels.size(); ++c) {
      GRAB_RETURN_IF_ERROR(
          visible_->SetCandidates(segment.user, c, segment.row, segment.rows,
                                  events.request_time_ms.data() + segment.candidate));
    }
  }
  return absl::OkStatus();
}

Status Engine::ScoreMicroBatch(int64_t rows, float* logits) {
  const ModelSpec& spec = model_.spec();
  GRAB_RETURN_IF_ERROR(FindVisible());
  for (const Segment& segment : segments_) {
    for (int64_t i = 0; i < segment.rows; ++i) {
      PutToken(full_, model_.full_tokenizer(), full_columns_, *segment.request->events,
               segment.candidate + static_cast<size_t>(i), segment.row + i);
    }
  }
  const auto channels = static_cast<int64_t>(spec.channels.size());
  const int64_t stride = d_ * std::max<int64_t>(1, channels);
  stack_.Tokenize(model_.full_tokenizer(), rows, state_.get(), stride);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = state_.get() + r * stride;
    for (int64_t c = 1; c < channels; ++c) std::copy_n(row, d_, row + c * d_);
  }
  for (int64_t layer = 0; channels > 0 && layer < spec.layers; ++layer) RunLayer(layer, rows);
  stack_.Head(rows, state_.get(), logits);
  return absl::OkStatus();
}

void Engine::RunLayer(int64_t layer, int64_t rows) {
  const ModelSpec& spec = model_.spec();
  const int64_t stride = d_ * static_cast<int64_t>(spec.channels.size());
  if (spec.mixes()) stack_.Mix(layer, rows, state_.get());
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    float* state = state_.get() + static_cast<int64_t>(c) * d_;
    const PackedLayer& packed = model_.layer(c, layer);
    stack_.Project(packed, rows, state, stride);
    for (const Segment& segment : segments_) {
      visible_->Attend(segment.user, c, layer, segment.row, segment.rows, stack_.queries(),
                       stack_.keys(), stack_.values(), stack_.attended());
    }
    stack_.Finish(packed, rows, state, stride);
  }
}

}  // namespace grab
