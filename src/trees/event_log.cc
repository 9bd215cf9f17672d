#include "trees/event_log.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_map.h"

namespace grab {
namespace {

// From keys to cells; those of a counter by user are forgotten from user to user.
using CellOf = absl::flat_hash_map<uint64_t, uint32_t>;

class Loader {
 public:
  Loader(const FeaturePlan& plan, size_t events) : plan_(plan), cell_of_(plan.counters.size()) {
    log_.request_time_ms.reserve(events);
    log_.known_time_ms.reserve(events);
    log_.split.reserve(events);
    log_.history.reserve(events);
    log_.outcomes.reserve(events);
    log_.outcomes_known.reserve(events);
    log_.cells.resize(plan.counters.size());
    for (size_t c = 0; c < log_.cells.size(); ++c) {
      EventLog::Cells& cells = log_.cells[c];
      if (plan.counters[c].ids) {
        cells.offsets.reserve(events + 1);
        cells.offsets.push_back(0);
      } else {
        cells.cells.reserve(events);
      }
    }
    log_.numbers.resize(plan.numbers.size());
    for (std::vector<float>& numbers : log_.numbers) numbers.reserve(events);
  }

  void Append(const UserBlock& block) {
    const EventColumns& events = block.events;
    Extend(events.request_time_ms, log_.request_time_ms);
    Extend(events.known_time_ms, log_.known_time_ms);
    Extend(events.split, log_.split);
    Extend(events.history, log_.history);
    AppendOutcomes(events.labels, events.actions, log_.outcomes);
    AppendOutcomes(events.labels_known, events.actions_known, log_.outcomes_known);
    for (size_t i = 0; i < plan_.numbers.size(); ++i) {
      Extend(events.fields[static_cast<size_t>(plan_.numbers[i])].numbers, log_.numbers[i]);
    }
    for (size_t user = 0; user < block.users(); ++user) {
      for (size_t c = 0; c < plan_.counters.size(); ++c) {
        AppendUser(c, block, block.user_offsets[user], block.user_offsets[user + 1]);
      }
    }
  }

  // Of what LoadEventLog could not know before.
  double GrownBytes() const {
    double bytes = 0.0;
    for (size_t c = 0; c < cell_of_.size(); ++c) {
      // A slot and its control byte.
      constexpr double kSlotBytes = sizeof(CellOf::value_type) + 1;
      bytes += static_cast<double>(cell_of_[c].capacity()) * kSlotBytes;
      if (!plan_.counters[c].ids) continue;
      bytes += static_cast<double>(log_.cells[c].cells.capacity()) * sizeof(uint32_t);
    }
    return bytes;
  }

  uint64_t KeysMax() const {
    uint64_t keys = 0;
    for (const EventLog::Cells& cells : log_.cells) {
      keys = std::max<uint64_t>(keys, cells.cells.size());
    }
    return keys;
  }

  EventLog Take() { return std::move(log_); }

 private:
  template <class T>
  static void Extend(const std::vector<T>& from, std::vector<T>& to) {
    to.insert(to.end(), from.begin(), from.end());
  }

  void AppendOutcomes(const std::vector<uint32_t>& labels, const std::vector<uint32_t>& actions,
                      std::vector<uint64_t>& to) const {
    for (size_t i = 0; i < labels.size(); ++i) {
      uint64_t bits = 0;
      for (size_t o = 0; o < plan_.outcomes.size(); ++o) {
        const int action = plan_.outcomes[o].action;
        const uint64_t bit = action < 0 ? labels[i] >> o & 1 : actions[i] >> action & 1;
        bits |= bit << o;
      }
      to.push_back(bits);
    }
  }

  void AppendUser(size_t counter, const UserBlock& block, uint32_t begin, uint32_t end) {
    const Counter& plan = plan_.counters[counter];
    EventLog::Cells& out = log_.cells[counter];
    if (plan.by_user) cell_of_[counter].clear();
    if (plan.field < 0) {
      out.cells.insert(out.cells.end(), end - begin, out.count++);
      return;
    }
    const FieldColumn& column = block.events.fields[static_cast<size_t>(plan.field)];
    for (uint32_t i = begin; i < end; ++i) {
      if (!plan.ids) {
        out.cells.push_back(CellOfKey(counter, column.ids[i]));
        continue;
      }
      for (uint32_t v = column.offsets[i]; v < column.offsets[i + 1]; ++v) {
        out.cells.push_back(CellOfKey(counter, column.ids[v]));
      }
      const auto first = out.cells.begin() + out.offsets.back();
      std::sort(first, out.cells.end());
      out.cells.erase(std::unique(first, out.cells.end()), out.cells.end());
      out.offsets.push_back(static_cast<uint32_t>(out.cells.size()));
    }
  }

  uint32_t CellOfKey(size_t counter, uint64_t key) {
    if (key == 0) return kNoCell;
    EventLog::Cells& cells = log_.cells[counter];
    const auto [found, added] = cell_of_[counter].try_emplace(key, cells.count);
    if (added) ++cells.count;
    return found->second;
  }

  const FeaturePlan& plan_;
  EventLog log_;
  std::vector<CellOf> cell_of_;  // per counter
};

// Per event, of all columns whose length is the number of events.
double EventBytes(const FeaturePlan& plan) {
  constexpr size_t kTimesAndOutcomes = 4 * sizeof(int64_t) + sizeof(Split) + sizeof(uint8_t);
  return static_cast<double>(kTimesAndOutcomes + sizeof(uint32_t) * plan.counters.size() +
                             sizeof(float) * plan.numbers.size());
}

}  // namespace

StatusOr<EventLog> LoadEventLog(const ShardSet& shards, const FeaturePlan& plan,
                                MemoryBudget& memory, Progress& progress) {
  // Room for one block's values beside those of all blocks before.
  constexpr uint64_t kEventsMax = uint64_t{1} << 31;
  uint64_t events = 0;
  for (const ShardSet::BlockRef& ref : shards.blocks()) events += shards.info(ref).events;
  if (events > kEventsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(shards.dir(), ": ", events, " events, at most ", kEventsMax, " are counted"));
  }
  GRAB_RETURN_IF_ERROR(memory.Take(EventBytes(plan) * static_cast<double>(events),
                                   absl::StrCat(shards.dir(), ": ", events, " events")));
  Loader loader(plan, events);
  double grown = 0.0;
  progress.Begin("read events", "events", events);
  uint64_t done = 0;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    loader.Append(block);
    const double now = loader.GrownBytes();
    GRAB_RETURN_IF_ERROR(memory.Take(now - grown, absl::StrCat(shards.dir(), ": keys of events")));
    grown = now;
    if (loader.KeysMax() > kEventsMax) {
      return absl::ResourceExhaustedError(absl::StrCat(shards.dir(), ": more than ", kEventsMax,
                                                       " values of one field are not counted"));
    }
    progress.Update(done += block.events.size(), "");
  }
  progress.End("");
  return loader.Take();
}

}  // namespace grab
