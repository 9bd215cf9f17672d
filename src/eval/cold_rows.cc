#include "eval/cold_rows.h"

#include <algorithm>
#include <limits>

#include "base/hash.h"

namespace grab {
namespace {

struct Field {
  size_t column = 0;  // in EventColumns::fields
  std::vector<uint64_t> of_target;
  absl::flat_hash_set<uint64_t> values;  // of the targets; in the end those that are new
  bool too_many = false;
};

struct Target {
  ColdRows::Row row;
  int64_t user_known_ms = 0;  // when the first event of its user's history was known
};

class Finder {
 public:
  Finder(Split split, size_t values_max) : split_(split), values_max_(values_max) {}

  Status AddField(const ShardSet& shards, const std::string& name);
  void AddTargets(const UserBlock& block);
  // After all targets.
  void RemoveKnown(const EventColumns& events);
  ColdRows Finish() const;

  bool any_targets() const { return !targets_.empty(); }
  int64_t from_ms() const { return from_ms_; }

 private:
  void AddValues(const EventColumns& events, size_t i);

  const Split split_;
  const size_t values_max_;
  int64_t from_ms_ = std::numeric_limits<int64_t>::max();
  std::vector<Target> targets_;
  std::vector<Field> fields_;
};

Status Finder::AddField(const ShardSet& shards, const std::string& name) {
  const Schema& schema = shards.schema();
  const int index = schema.FieldIndex(name);
  if (index < 0 || schema.fields[static_cast<size_t>(index)].kind != FieldKind::kId) {
    return absl::InvalidArgumentError(
        absl::StrCat(shards.dir(), ": expected an id field '", name, "', there is none"));
  }
  fields_.emplace_back().column = static_cast<size_t>(index);
  return absl::OkStatus();
}

void Finder::AddTargets(const UserBlock& block) {
  const EventColumns& events = block.events;
  for (size_t user = 0; user < block.users(); ++user) {
    const size_t begin = block.user_offsets[user], end = block.user_offsets[user + 1];
    const uint64_t key = HashId(block.user_id[user]);
    const int64_t first_ms = FirstKnownMs(events, begin, end);
    for (size_t i = begin; i < end; ++i) {
      if (events.split[i] != split_) continue;
      from_ms_ = std::min(from_ms_, events.request_time_ms[i]);
      targets_.push_back({{key, events.event_id[i]}, first_ms});
      AddValues(events, i);
    }
  }
}

void Finder::AddValues(const EventColumns& events, size_t i) {
  for (Field& field : fields_) {
    if (field.too_many) continue;
    const uint64_t value = events.fields[field.column].ids[i];
    field.of_target.push_back(value);
    if (value != 0) field.values.insert(value);
    if (field.values.size() <= values_max_) continue;
    field = {.column = field.column, .too_many = true};
  }
}

void Finder::RemoveKnown(const EventColumns& events) {
  for (size_t i = 0; i < events.size(); ++i) {
    if (events.request_time_ms[i] >= from_ms_) continue;
    for (Field& field : fields_) field.values.erase(events.fields[field.column].ids[i]);
  }
}

ColdRows Finder::Finish() const {
  ColdRows cold;
  cold.of_new_values.resize(fields_.size());
  if (any_targets()) cold.from_ms = from_ms_;
  for (const Target& target : targets_) {
    if (target.user_known_ms >= from_ms_) cold.of_new_users.insert(target.row);
  }
  for (size_t f = 0; f < fields_.size(); ++f) {
    if (fields_[f].too_many) continue;
    auto& rows = cold.of_new_values[f].emplace();
    for (size_t t = 0; t < targets_.size(); ++t) {
      if (fields_[f].values.contains(fields_[f].of_target[t])) rows.insert(targets_[t].row);
    }
  }
  return cold;
}

}  // namespace

// Known times of a user ascend.
int64_t FirstKnownMs(const EventColumns& events, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    if (events.history[i] != 0) return events.known_time_ms[i];
  }
  return std::numeric_limits<int64_t>::max();
}

StatusOr<ColdRows> FindColdRows(const ShardSet& shards, Split split,
                                const std::vector<std::string>& fields, size_t values_max) {
  Finder finder(split, values_max);
  for (const std::string& field : fields) GRAB_RETURN_IF_ERROR(finder.AddField(shards, field));
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(split)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    finder.AddTargets(block);
  }
  if (!finder.any_targets() || fields.empty()) return finder.Finish();
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    const BlockInfo& info = shards.info(ref);
    if (info.events == 0 || info.request_time_min_ms >= finder.from_ms()) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    finder.RemoveKnown(block.events);
  }
  return finder.Finish();
}

}  // namespace grab
