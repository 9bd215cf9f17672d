// Users' events to packed batches.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/status.h"
#include "batch/batch.h"
#include "batch/visibility.h"
#include "tokens/token_spec.h"

namespace grab {

// What a model needs to see of a timeline. No channels: a model without history.
struct PackPlan {
  std::vector<ChannelPlan> channels;
  int layers = 1;
  size_t bias_actions = 0;  // actions that a key's class tells apart (ActionClass)
};

// Some targets of one user, with the part of its history that can reach them: the unit a batch is
// packed from.
struct TargetGroup {
  uint32_t user = 0;         // in its block
  uint32_t event_begin = 0;  // the events of the user that count, as indices into the block
  uint32_t event_end = 0;
  // Indices into the block, ascending. In place where they are few: a log shuffled by impressions
  // is as many groups as it has targets.
  absl::InlinedVector<uint32_t, 4> targets;
  uint64_t tokens = 0;       // its share of a batch's token budget
  uint32_t reach_begin = 0;  // of these events, those that can reach a target
  uint32_t reach_end = 0;
};

class BatchBuilder {
 public:
  // `spec` must outlive the builder. Sliced fields are id or number fields of the spec;
  // `value_field`, if named, is a number field of its schema.
  static StatusOr<BatchBuilder> Create(const TokenSpec& spec, PackPlan plan,
                                       const std::vector<std::string>& slices = {},
                                       const std::string& value_field = "");

  bool reads_history() const { return !plan_.channels.empty(); }
  // Nothing known at or after this time counts as history (frozen evaluation). Default: no limit.
  void set_history_until_ms(int64_t time_ms) { history_until_ms_ = time_ms; }

  // Splits `targets` (ascending, in the user's events [begin, end)) into groups of at most
  // `tokens_max` tokens, or of one target where a single one needs more (0: one target each).
  // Scores do not depend on the split.
  void Plan(const UserBlock& block, uint32_t user, uint32_t begin, uint32_t end,
            const std::vector<uint32_t>& targets, uint64_t tokens_max,
            std::vector<TargetGroup>& groups) const;

  Batch Empty() const;
  // Appends one segment, of a group that Plan made.
  void Append(const UserBlock& block, const TargetGroup& group, Batch& batch) const;
  // Appends only what is known of a target beside its tokens (times, labels, ids, slices), for
  // forwards that read events themselves.
  void AppendTarget(const UserBlock& block, const TargetGroup& group, uint32_t target,
                    Batch& batch) const;

 private:
  struct Reach {
    uint32_t begin = std::numeric_limits<uint32_t>::max();
    uint32_t end = 0;
    uint64_t size() const { return end > begin ? end - begin : 0; }
  };

  BatchBuilder(const TokenSpec& spec, PackPlan plan)
      : spec_(&spec),
        plan_(std::move(plan)),
        partial_(spec, TokenView::kPartial),
        full_(spec, TokenView::kFull) {}
  std::vector<ChannelTimeline> Timelines(const EventColumns& events, uint32_t begin,
                                         uint32_t end) const;
  void Extend(const std::vector<ChannelTimeline>& timelines, const EventColumns& events,
              uint32_t target, std::vector<Reach>& reach) const;
  uint64_t Tokens(const std::vector<Reach>& reach, size_t targets) const;
  static void SetReach(const std::vector<ChannelTimeline>& timelines,
                       const std::vector<Reach>& reach, TargetGroup& group);
  void AppendChannel(size_t channel, const EventColumns& events, const ChannelTimeline& timeline,
                     const Reach& reach, const std::vector<uint32_t>& row_of,
                     const TargetGroup& group, Batch& batch) const;

  const TokenSpec* spec_;
  PackPlan plan_;
  Tokeniser partial_;
  Tokeniser full_;
  std::vector<int> slice_fields_;                      // index into Schema::fields
  std::vector<std::vector<double>> slice_boundaries_;  // of numbers
  int value_field_ = -1;                               // index into Schema::fields; -1: none
  int64_t history_until_ms_ = std::numeric_limits<int64_t>::max();
};

}  // namespace grab
