#include "batch/builder.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace grab {

uint64_t Batch::tokens() const {
  uint64_t tokens = channels.empty() ? full.rows : 0;
  for (const ChannelBatch& channel : channels) tokens += channel.token.size() + full.rows;
  return tokens;
}

StatusOr<BatchBuilder> BatchBuilder::Create(const TokenSpec& spec, PackPlan plan,
                                            const std::vector<std::string>& slices,
                                            const std::string& value_field) {
  BatchBuilder builder(spec, std::move(plan));
  if (!value_field.empty()) {
    builder.value_field_ = spec.schema.FieldIndex(value_field);
    const bool number =
        builder.value_field_ >= 0 &&
        spec.schema.fields[static_cast<size_t>(builder.value_field_)].kind == FieldKind::kNumber;
    if (!number) {
      return absl::InvalidArgumentError(
          absl::StrCat("value field '", value_field, "' is not a number field of the data"));
    }
  }
  for (const std::string& name : slices) {
    const TokenSlot* found = spec.FindSlot(name);
    if (found == nullptr || (found->kind != SlotKind::kId && found->kind != SlotKind::kNumber)) {
      return absl::InvalidArgumentError(
          absl::StrCat("eval.slices: '", name, "' is not an id or number field of the data"));
    }
    builder.slice_fields_.push_back(found->fields[0]);
    builder.slice_boundaries_.push_back(found->boundaries[0]);
  }
  return builder;
}

std::vector<ChannelTimeline> BatchBuilder::Timelines(const EventColumns& events, uint32_t begin,
                                                     uint32_t end) const {
  std::vector<ChannelTimeline> timelines(plan_.channels.size());
  for (size_t c = 0; c < timelines.size(); ++c) {
    const uint32_t actions = plan_.channels[c].actions;
    for (uint32_t i = begin; i < end; ++i) {
      if (events.history[i] == 0) continue;
      if (actions != 0 && (events.actions[i] & actions) == 0) continue;
      timelines[c].events.push_back(i);
      timelines[c].known_time_ms.push_back(events.known_time_ms[i]);
    }
  }
  return timelines;
}

void BatchBuilder::Extend(const std::vector<ChannelTimeline>& timelines, const EventColumns& events,
                          uint32_t target, std::vector<Reach>& reach) const {
  for (size_t c = 0; c < timelines.size(); ++c) {
    const KeyRange history = FullHistory(plan_.channels[c], timelines[c],
                                         events.request_time_ms[target], history_until_ms_);
    if (history.begin == history.end) continue;
    const uint32_t begin = ReachBegin(plan_.channels[c], timelines[c], history.begin, plan_.layers);
    reach[c].begin = std::min(reach[c].begin, begin);
    reach[c].end = std::max(reach[c].end, history.end);
  }
}

uint64_t BatchBuilder::Tokens(const std::vector<Reach>& reach, size_t targets) const {
  uint64_t tokens = targets * std::max<size_t>(1, reach.size());
  for (const Reach& part : reach) tokens += part.size();
  return tokens;
}

// What a channel's window shows of a target, layer by layer, lies in the reach: the rest of the
// timeline need not be looked at again.
void BatchBuilder::SetReach(const std::vector<ChannelTimeline>& timelines,
                            const std::vector<Reach>& reach, TargetGroup& group) {
  group.reach_begin = group.event_end;
  group.reach_end = group.event_begin;
  for (size_t c = 0; c < timelines.size(); ++c) {
    if (reach[c].size() == 0) continue;
    group.reach_begin = std::min(group.reach_begin, timelines[c].events[reach[c].begin]);
    group.reach_end = std::max(group.reach_end, timelines[c].events[reach[c].end - 1] + 1);
  }
  if (group.reach_end <= group.reach_begin) group.reach_begin = group.reach_end;
}

void BatchBuilder::Plan(const UserBlock& block, uint32_t user, uint32_t begin, uint32_t end,
                        const std::vector<uint32_t>& targets, uint64_t tokens_max,
                        std::vector<TargetGroup>& groups) const {
  const std::vector<ChannelTimeline> timelines = Timelines(block.events, begin, end);
  const TargetGroup none{.user = user, .event_begin = begin, .event_end = end};
  std::vector<Reach> reach(timelines.size()), extended;
  TargetGroup group = none;
  const auto close = [&] {
    SetReach(timelines, reach, group);
    groups.push_back(std::move(group));
  };
  for (const uint32_t target : targets) {
    extended = reach;
    Extend(timelines, block.events, target, extended);
    if (!group.targets.empty() && Tokens(extended, group.targets.size() + 1) > tokens_max) {
      close();
      group = none;
      extended.assign(timelines.size(), Reach());
      Extend(timelines, block.events, target, extended);
    }
    std::swap(reach, extended);
    group.targets.push_back(target);
    group.tokens = Tokens(reach, group.targets.size());
  }
  if (!group.targets.empty()) close();
}

Batch BatchBuilder::Empty() const {
  Batch batch;
  batch.partial = partial_.Empty();
  batch.full = full_.Empty();
  batch.channels.resize(plan_.channels.size());
  for (ChannelBatch& channel : batch.channels) channel.segment_offsets.push_back(0);
  batch.partial_offsets.push_back(0);
  batch.full_offsets.push_back(0);
  batch.slices.resize(slice_fields_.size());
  return batch;
}

void BatchBuilder::Append(const UserBlock& block, const TargetGroup& group, Batch& batch) const {
  const EventColumns& events = block.events;
  const std::vector<ChannelTimeline> timelines =
      Timelines(events, group.reach_begin, group.reach_end);
  std::vector<Reach> reach(timelines.size());
  for (const uint32_t target : group.targets) Extend(timelines, events, target, reach);

  // An event that several channels hold is tokenised once.
  std::vector<uint32_t> row_of(group.reach_end - group.reach_begin, 0);
  constexpr uint32_t kNeeded = std::numeric_limits<uint32_t>::max();
  for (size_t c = 0; c < timelines.size(); ++c) {
    for (uint32_t i = reach[c].begin; i < reach[c].end; ++i) {
      row_of[timelines[c].events[i] - group.reach_begin] = kNeeded;
    }
  }
  for (uint32_t i = 0; i < row_of.size(); ++i) {
    if (row_of[i] != kNeeded) continue;
    row_of[i] = batch.partial.rows;
    partial_.Append(events, group.reach_begin + i, batch.partial);
  }
  for (size_t c = 0; c < timelines.size(); ++c) {
    AppendChannel(c, events, timelines[c], reach[c], row_of, group, batch);
  }
  for (const uint32_t target : group.targets) {
    full_.Append(events, target, batch.full);
    AppendTarget(block, group, target, batch);
  }
  batch.partial_offsets.push_back(batch.partial.rows);
  batch.full_offsets.push_back(batch.full.rows);
}

void BatchBuilder::AppendChannel(size_t channel, const EventColumns& events,
                                 const ChannelTimeline& timeline, const Reach& reach,
                                 const std::vector<uint32_t>& row_of, const TargetGroup& group,
                                 Batch& batch) const {
  const ChannelPlan& plan = plan_.channels[channel];
  ChannelBatch& out = batch.channels[channel];
  const uint32_t first = reach.size() > 0 ? reach.begin : 0;
  // Positions in the timeline become rows of the batch by one shift; rows before the reach are cut
  // off, and only rows that no target can reach ever looked at them.
  const int64_t shift = static_cast<int64_t>(out.token.size()) - first;
  const auto row = [&](uint32_t position) {
    return static_cast<int32_t>(static_cast<int64_t>(std::max(position, first)) + shift);
  };
  for (uint32_t i = reach.begin; i < reach.end; ++i) {
    const uint32_t event = timeline.events[i];
    out.token.push_back(row_of[event - group.reach_begin]);
    out.key_time_ms.push_back(timeline.known_time_ms[i]);
    out.key_action.push_back(
        ActionClass(events.actions[event], events.actions_known[event], plan_.bias_actions));
    out.partial_begin.push_back(row(PartialHistory(plan, timeline, i).begin));
  }
  for (const uint32_t target : group.targets) {
    const KeyRange history =
        FullHistory(plan, timeline, events.request_time_ms[target], history_until_ms_);
    const bool empty = history.begin == history.end;
    out.full_begin.push_back(empty ? row(first) : row(history.begin));
    out.full_end.push_back(empty ? row(first) : row(history.end));
  }
  out.segment_offsets.push_back(static_cast<uint32_t>(out.token.size()));
}

void BatchBuilder::AppendTarget(const UserBlock& block, const TargetGroup& group, uint32_t target,
                                Batch& batch) const {
  const EventColumns& events = block.events;
  batch.request_time_ms.push_back(events.request_time_ms[target]);
  batch.labels.push_back(events.labels[target]);
  batch.labels_known.push_back(events.labels_known[target]);
  batch.event_id.push_back(events.event_id[target]);
  batch.user_key.push_back(HashId(block.user_id[group.user]));
  batch.page_id.push_back(events.page_id[target]);
  if (value_field_ >= 0) {
    batch.value.push_back(events.fields[static_cast<size_t>(value_field_)].numbers[target]);
  }
  batch.split.push_back(events.split[target]);
  const auto known = events.known_time_ms.begin();
  const int64_t until_ms = std::min(events.request_time_ms[target], history_until_ms_);
  const auto seen = std::lower_bound(known + group.event_begin, known + group.event_end, until_ms);
  const auto history = events.history.begin();
  batch.history_len.push_back(
      static_cast<uint32_t>(std::count(history + group.event_begin, history + (seen - known), 1)));
  for (size_t s = 0; s < slice_fields_.size(); ++s) {
    const FieldColumn& column = events.fields[static_cast<size_t>(slice_fields_[s])];
    const bool number = !slice_boundaries_[s].empty();
    batch.slices[s].push_back(number ? BucketKey(slice_boundaries_[s], column.numbers[target])
                                     : column.ids[target]);
  }
}

}  // namespace grab
