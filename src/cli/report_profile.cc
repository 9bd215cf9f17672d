#include "cli/report_profile.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace grab {
namespace {

class Profiler {
 public:
  Profiler(const Schema& schema, const TimeBins& time) {
    profile_.time = time;
    for (const std::string& task : schema.tasks) {
      profile_.tasks.push_back({task, std::vector<LabelCounts>(time.count)});
    }
  }

  void Add(const UserBlock& block);
  const DataProfile& profile() const { return profile_; }

 private:
  void AddUser(const EventColumns& events, size_t begin, size_t end);
  void AddLabels(const EventColumns& events, size_t i);

  DataProfile profile_;
};

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
  const int64_t first_known_ms = FirstKnownMs(events, begin, end);
  for (size_t i = begin; i < end; ++i) {
    const int64_t request_ms = events.request_time_ms[i];
    ++profile_.targets[static_cast<size_t>(events.split[i])];
    if (events.split[i] == Split::kTest && first_known_ms >= request_ms) {
      ++profile_.no_history_rows;
    }
    AddLabels(events, i);
  }
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

Status AddColdRows(const ShardSet& shards, const std::vector<std::string>& fields,
                   DataProfile& profile) {
  GRAB_ASSIGN_OR_RETURN(const ColdRows cold, FindColdRows(shards, Split::kTest, fields));
  profile.test_from_ms = cold.from_ms;
  profile.new_user_rows = cold.of_new_users.size();
  for (size_t f = 0; f < fields.size(); ++f) {
    ColdField& field = profile.fields.emplace_back(ColdField{fields[f], std::nullopt});
    if (cold.of_new_values[f].has_value()) field.cold_rows = cold.of_new_values[f]->size();
  }
  return absl::OkStatus();
}

// Of all blocks; without events there are no bins.
StatusOr<TimeBins> RequestBins(const ShardSet& shards) {
  int64_t first_ms = std::numeric_limits<int64_t>::max();
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
  progress.Begin("read shards", "blocks", shards.blocks().size());
  for (size_t b = 0; b < shards.blocks().size(); ++b) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(shards.blocks()[b]));
    profiler.Add(block);
    progress.Update(b + 1, "");
  }
  progress.End("");
  DataProfile profile = profiler.profile();
  GRAB_RETURN_IF_ERROR(AddColdRows(shards, item_fields, profile));
  return profile;
}

}  // namespace grab
