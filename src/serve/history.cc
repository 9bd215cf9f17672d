// Prefill and Append of serve/engine.h.
#include <algorithm>

#include "base/check.h"
#include "serve/engine.h"

namespace grab {
namespace {

// Of the cached pages of a sequence, the one that holds key `key`.
uint32_t PageOf(const KvCache& cache, const KvSequence& sequence, int64_t key) {
  uint32_t page = sequence.front_page;
  for (int64_t end = sequence.first + kPageKeys; end <= key; end += kPageKeys) {
    page = cache.Next(page);
  }
  return page;
}

}  // namespace

Status Engine::Prefill(uint64_t user, const EventColumns& events, size_t begin, size_t end) {
  GRAB_CHECK(begin <= end && end <= events.size());
  if (cache_ == nullptr) return absl::OkStatus();
  KvUser* old = cache_->Peek(version_, user);
  if (old != nullptr && KvCache::Pins(old) > 0) {
    return absl::FailedPreconditionError(absl::StrCat("user ", user, " is in use"));
  }
  if (old != nullptr) cache_->Erase(old);
  GRAB_ASSIGN_OR_RETURN(KvUser * added, cache_->Add(version_, user));
  const Status status = [&] {
    GRAB_RETURN_IF_ERROR(CheckOrder(added, events, begin, end));
    StartAtReach(added, events, begin, end);
    return AppendAll(added, events, begin, end);
  }();
  if (!status.ok()) cache_->Erase(added);
  return status;
}

Status Engine::Append(uint64_t user, const EventColumns& events, size_t begin, size_t end) {
  GRAB_CHECK(begin <= end && end <= events.size());
  if (cache_ == nullptr) return absl::OkStatus();
  KvUser* found = cache_->Peek(version_, user);
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("user ", user, " is not cached"));
  cache_->Touch(found);
  GRAB_RETURN_IF_ERROR(CheckOrder(found, events, begin, end));
  std::fill(start_.begin(), start_.end(), begin);
  return AppendAll(found, events, begin, end);
}

bool Engine::InChannel(size_t channel, const EventColumns& events, size_t index) const {
  const uint32_t actions = model_.spec().channels[channel].plan.actions;
  return index >= start_[channel] && events.history[index] != 0 &&
         (actions == 0 || (events.actions[index] & actions) != 0);
}

Status Engine::CheckOrder(const KvUser* user, const EventColumns& events, size_t begin,
                          size_t end) const {
  bool first = user->events == 0;
  int64_t newest_ms = user->newest_known_ms;
  for (size_t i = begin; i < end; ++i) {
    const int64_t known_ms = events.known_time_ms[i];
    if (!first && known_ms < newest_ms) {
      return absl::InvalidArgumentError(absl::StrCat(
          "event ", events.event_id[i], " of user ", user->user, " was known at ", known_ms,
          " ms, after one known at ", newest_ms, " ms; events are appended in order"));
    }
    first = false;
    newest_ms = known_ms;
  }
  return absl::OkStatus();
}

// A history longer than its last state can reach is computed from there on, at a tile's begin, so
// that the rest is to the bit what the whole history would give.
void Engine::StartAtReach(KvUser* user, const EventColumns& events, size_t begin, size_t end) {
  std::fill(start_.begin(), start_.end(), begin);
  for (size_t c = 0; c < timelines_.size(); ++c) {
    const ChannelPlan& plan = model_.spec().channels[c].plan;
    ChannelTimeline& timeline = timelines_[c];
    timeline.events.clear();
    timeline.known_time_ms.clear();
    for (size_t i = begin; i < end; ++i) {
      if (!InChannel(c, events, i)) continue;
      timeline.events.push_back(static_cast<uint32_t>(i));
      timeline.known_time_ms.push_back(events.known_time_ms[i]);
    }
    const auto size = static_cast<int64_t>(timeline.events.size());
    const int64_t kept = std::max<int64_t>(0, size - plan.window_len - kLateKeys);
    const uint32_t reach =
        ReachBegin(plan, timeline, static_cast<uint32_t>(kept / kPageKeys * kPageKeys),
                   static_cast<int>(model_.spec().layers));
    const int64_t start = reach / kPageKeys * kPageKeys;
    if (start == 0) continue;
    start_[c] = timeline.events[static_cast<size_t>(start)];
    KvSequence& sequence = cache_->sequence(user, c);
    sequence.first = start;
    sequence.keys = start;
    sequence.last_released_ms = timeline.known_time_ms[static_cast<size_t>(start) - 1];
  }
}

Status Engine::AppendAll(KvUser* user, const EventColumns& events, size_t begin, size_t end) {
  while (begin < end) {
    const size_t chunk_end = std::min(end, begin + static_cast<size_t>(rows_max_));
    GRAB_RETURN_IF_ERROR(AppendChunk(user, events, begin, chunk_end));
    begin = chunk_end;
  }
  return absl::OkStatus();
}

Status Engine::ReserveChunk(KvUser* user, const EventColumns& events, size_t begin, size_t end) {
  for (size_t c = 0; c < start_.size(); ++c) {
    int64_t keys = cache_->sequence(user, c).keys;
    for (size_t i = begin; i < end; ++i) keys += InChannel(c, events, i) ? 1 : 0;
    GRAB_RETURN_IF_ERROR(cache_->Reserve(user, c, keys));
  }
  return absl::OkStatus();
}

// All or nothing: what can fail comes first.
Status Engine::AppendChunk(KvUser* user, const EventColumns& events, size_t begin, size_t end) {
  GRAB_RETURN_IF_ERROR(ReserveChunk(user, events, begin, end));
  user->events += end - begin;
  user->newest_known_ms = events.known_time_ms[end - 1];
  chunk_events_.clear();
  for (size_t i = begin; i < end; ++i) {
    bool taken = false;
    for (size_t c = 0; c < start_.size(); ++c) taken = taken || InChannel(c, events, i);
    if (!taken) continue;
    PutToken(partial_, model_.partial_tokenizer(), partial_columns_, events, i,
             static_cast<int64_t>(chunk_events_.size()));
    chunk_events_.push_back(i);
  }
  if (chunk_events_.empty()) return absl::OkStatus();
  stack_.Tokenize(model_.partial_tokenizer(), static_cast<int64_t>(chunk_events_.size()),
                  encoded_.get(), d_);
  for (size_t c = 0; c < start_.size(); ++c) AppendToChannel(user, c, events);
  return absl::OkStatus();
}

void Engine::AppendToChannel(KvUser* user, size_t channel, const EventColumns& events) {
  channel_rows_.clear();
  channel_actions_.clear();
  for (size_t row = 0; row < chunk_events_.size(); ++row) {
    const size_t event = chunk_events_[row];
    if (!InChannel(channel, events, event)) continue;
    std::copy_n(encoded_.get() + row * static_cast<size_t>(d_), d_,
                state_.get() + channel_rows_.size() * static_cast<size_t>(d_));
    channel_rows_.push_back(row);
    channel_actions_.push_back(ActionClass(events.actions[event], events.actions_known[event],
                                           model_.spec().bias_actions()));
  }
  if (channel_rows_.empty()) return;
  const auto rows = static_cast<int64_t>(channel_rows_.size());
  WriteEvents(user, channel, events);
  visible_->SetEvents(user, channel, rows);
  for (int64_t l = 0; l < model_.spec().layers; ++l) {
    const PackedLayer& layer = model_.layer(channel, l);
    if (l + 1 == model_.spec().layers) {
      // Nobody reads what an event's last layer would put out, only what is cached of it.
      stack_.ProjectCached(layer, rows, state_.get(), d_);
      WriteKeys(user, channel, l);
      break;
    }
    stack_.Project(layer, rows, state_.get(), d_);
    WriteKeys(user, channel, l);
    visible_->Attend(user, channel, l, 0, rows, stack_.queries(), stack_.keys(), stack_.values(),
                     stack_.attended());
    stack_.Finish(layer, rows, state_.get(), d_);
  }
  cache_->sequence(user, channel).keys += rows;
  ReleaseUnseen(user, channel);
}

void Engine::WriteEvents(const KvUser* user, size_t channel, const EventColumns& events) {
  const bool latents = model_.spec().latent_width > 0;
  const KvSequence& sequence = cache_->sequence(user, channel);
  int64_t key = sequence.keys;
  uint32_t page = PageOf(*cache_, sequence, key);
  for (size_t i = 0; i < channel_rows_.size(); ++i) {
    const int64_t slot = key % kPageKeys;
    cache_->KnownTimes(page)[slot] = events.known_time_ms[chunk_events_[channel_rows_[i]]];
    if (latents) page_.Actions(cache_->Data(page))[slot] = channel_actions_[i];
    if (++key % kPageKeys == 0) page = cache_->Next(page);
  }
}

void Engine::WriteKeys(const KvUser* user, size_t channel, int64_t layer) {
  const KvSequence& sequence = cache_->sequence(user, channel);
  const int64_t width = model_.spec().latent_width;
  const auto rows = static_cast<int64_t>(channel_rows_.size());
  uint32_t page = PageOf(*cache_, sequence, sequence.keys);
  int64_t slot = sequence.keys % kPageKeys;
  for (int64_t row = 0; row < rows;) {
    const int64_t count = std::min(rows - row, kPageKeys - slot);
    uint8_t* data = cache_->Data(page);
    if (width > 0) {
      std::copy_n(stack_.latents() + row * width, count * width,
                  page_.Latents(data, layer) + slot * width);
    } else {
      WriteRabTile(model_.shape(), model_.precision(), stack_.keys() + row * 2 * d_,
                   stack_.values() + row * 2 * d_, 2 * d_, channel_actions_.data() + row,
                   model_.layer(channel, layer).codebook_action, slot, count,
                   page_.Tile(data, layer));
    }
    row += count;
    slot = 0;
    page = cache_->Next(page);
  }
}

// Later events are known no earlier than the newest, and later requests are not much older.
void Engine::ReleaseUnseen(KvUser* user, size_t channel) {
  const ChannelPlan& plan = model_.spec().channels[channel].plan;
  const KvSequence& sequence = cache_->sequence(user, channel);
  int64_t seen = sequence.keys - plan.window_len - kLateKeys;
  if (plan.window_time_ms > 0) {
    const int64_t oldest_ms = user->newest_known_ms - plan.window_time_ms;
    uint32_t page = sequence.front_page;
    for (int64_t end = sequence.first + kPageKeys; end + kLateKeys <= sequence.keys;
         end += kPageKeys, page = cache_->Next(page)) {
      if (cache_->KnownTimes(page)[kPageKeys - 1] >= oldest_ms) break;
      seen = std::max(seen, end);
    }
  }
  cache_->Release(user, channel, seen);
}

}  // namespace grab
