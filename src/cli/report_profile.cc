#include "cli/report_profile.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/container/flat_hash_map.h"

namespace grab {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// When a value or a user was first seen, and in how many test rows it is. Where the test begins is
// known only at the end.
struct Seen {
  int64_t first_ms = kNever;
  uint64_t test_rows = 0;
};

struct FieldValues {
  size_t column = 0;  // in EventColumns::fields
  absl::flat_hash_map<uint64_t, Seen> seen;
  bool too_many = false;
};

class Profiler {
 public:
  Profiler(const Schema& schema, const TimeBins& time) {
    profile_.time = time;
    for (const std::string& task : schema.tasks) {
      profile_.tasks.push_back({task, std::vector<LabelCounts>(time.count)});
    }
  }

  Status AddField(const ShardSet& shards, const std::string& name);
  void Add(const UserBlock& block);
  DataProfile Finish();

 private:
  void AddUser(const EventColumns& events, size_t begin, size_t end);
  void AddLabels(const EventColumns& events, size_t i);
  void AddValues(const EventColumns& events, size_t i);
  uint64_t ColdRows(const Seen& seen) const {
    return seen.first_ms >= *profile_.test_from_ms ? seen.test_rows : 0;
  }

  DataProfile profile_;
  std::vector<FieldValues> values_;  // as profile_.fields
  std::vector<Seen> users_;          // those with test rows
};

Status Profiler::AddField(const ShardSet& shards, const std::string& name) {
  const Schema& schema = shards.schema();
  const int index = schema.FieldIndex(name);
  if (index < 0 || schema.fields[static_cast<size_t>(index)].kind != FieldKind::kId) {
    return absl::InvalidArgumentError(
        absl::StrCat(shards.dir(), ": expected an id field '", name, "', there is none"));
  }
  profile_.fields.push_back({name, std::nullopt});
  values_.push_back({static_cast<size_t>(index), {}, false});
  return absl::OkStatus();
}

void Profiler::Add(const UserBlock& block) {
  for (size_t u = 0; u < block.users(); ++u) {
    AddUser(block.events, block.user_offsets[u], block.user_offsets[u + 1]);
  }
}

void Profiler::AddUser(const EventColumns& events, size_t begin, size_t end) {
  if (begin == end) return;
  ++profile_.users;
  profile_.events += end - begin;
  const auto bin = static_cast<size_t>(std::bit_width(end - begin)) - 1;
  if (profile_.users_by_events.size() <= bin) profile_.users_by_events.resize(bin + 1);
  ++profile_.users_by_events[bin];
  Seen user;
  // Known times of a user ascend.
  size_t first = begin;
  while (first < end && events.history[first] == 0) ++first;
  const int64_t first_known_ms = first < end ? events.known_time_ms[first] : kNever;
  for (size_t i = begin; i < end; ++i) {
    const int64_t request_ms = events.request_time_ms[i];
    ++profile_.targets[static_cast<size_t>(events.split[i])];
    user.first_ms = std::min(user.first_ms, request_ms);
    if (events.split[i] == Split::kTest) {
      ++user.test_rows;
      profile_.test_from_ms = std::min(profile_.test_from_ms.value_or(kNever), request_ms);
      if (first_known_ms >= request_ms) ++profile_.no_history_rows;
    }
    AddLabels(events, i);
    AddValues(events, i);
  }
  if (user.test_rows > 0) users_.push_back(user);
}

void Profiler::AddLabels(const EventColumns& events, size_t i) {
  if (events.split[i] == Split::kContext) return;
  for (size_t t = 0; t < profile_.tasks.size(); ++t) {
    if ((events.labels_known[i] >> t & 1) == 0) continue;
    LabelCounts& counts = profile_.tasks[t].bins[profile_.time.Of(events.request_time_ms[i])];
    ++counts.rows;
    counts.positives += events.labels[i] >> t & 1;
  }
}

void Profiler::AddValues(const EventColumns& events, size_t i) {
  for (FieldValues& field : values_) {
    const uint64_t value = events.fields[field.column].ids[i];
    if (value == 0 || field.too_many) continue;
    Seen& seen = field.seen[value];
    seen.first_ms = std::min(seen.first_ms, events.request_time_ms[i]);
    seen.test_rows += events.split[i] == Split::kTest ? 1 : 0;
    if (field.seen.size() <= kProfileValuesMax) continue;
    field.too_many = true;
    field.seen = {};
  }
}

DataProfile Profiler::Finish() {
  if (!profile_.test_from_ms.has_value()) return std::move(profile_);
  for (const Seen& user : users_) profile_.new_user_rows += ColdRows(user);
  for (size_t f = 0; f < values_.size(); ++f) {
    if (values_[f].too_many) continue;
    uint64_t rows = 0;
    for (const auto& [value, seen] : values_[f].seen) rows += ColdRows(seen);
    profile_.fields[f].cold_rows = rows;
  }
  return std::move(profile_);
}

// Of all blocks; without events there are no bins.
StatusOr<TimeBins> RequestBins(const ShardSet& shards) {
  int64_t first_ms = kNever;
  int64_t last_ms = std::numeric_limits<int64_t>::min();
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).events == 0) continue;
    first_ms = std::min(first_ms, shards.info(ref).request_time_min_ms);
    last_ms = std::max(last_ms, shards.info(ref).request_time_max_ms);
  }
  if (first_ms > last_ms) return TimeBins();
  const StatusOr<TimeBins> bins = MakeTimeBins(first_ms, last_ms, kProfileTimeBinsMax);
  return bins.ok() ? bins : Annotate(bins.status(), shards.dir());
}

}  // namespace

StatusOr<DataProfile> ProfileData(const ShardSet& shards,
                                  const std::vector<std::string>& item_fields, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(const TimeBins time, RequestBins(shards));
  Profiler profiler(shards.schema(), time);
  for (const std::string& field : item_fields) {
    GRAB_RETURN_IF_ERROR(profiler.AddField(shards, field));
  }
  progress.Begin("read shards", "blocks", shards.blocks().size());
  for (size_t b = 0; b < shards.blocks().size(); ++b) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(shards.blocks()[b]));
    profiler.Add(block);
    progress.Update(b + 1, "");
  }
  progress.End("");
  return profiler.Finish();
}

}  // namespace grab
