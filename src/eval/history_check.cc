#include "eval/history_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/hash.h"

namespace grab {
namespace {

// What is wrong with one target; empty: nothing.
std::string FaultOf(const Batch& batch, size_t segment, uint32_t row, const KnownTimes& known,
                    uint64_t& rows) {
  const uint64_t user = batch.user_key[row];
  const int64_t event = known.Find(user, batch.event_id[row]);
  if (event < 0) return "the shards hold no such event of this user";
  const int64_t request_ms = known.events().request_time_ms[static_cast<size_t>(event)];
  for (size_t c = 0; c < batch.channels.size(); ++c) {
    const ChannelBatch& channel = batch.channels[c];
    const auto first = static_cast<int32_t>(channel.segment_offsets[segment]);
    const auto last = static_cast<int32_t>(channel.segment_offsets[segment + 1]);
    const int32_t begin = channel.full_begin[row], end = channel.full_end[row];
    if (begin < end && (begin < first || end > last)) {
      return absl::StrCat("channel ", c, ": sees rows of another user");
    }
    for (int32_t i = begin; i < end; ++i, ++rows) {
      const auto key = static_cast<size_t>(i);
      const int64_t time_ms = channel.key_time_ms[key];
      if (time_ms >= request_ms) {
        return absl::StrCat("channel ", c, ": sees what was known at ", time_ms, " ms");
      }
      if (!known.IsKnownTime(user, time_ms)) {
        return absl::StrCat("channel ", c, ": no event of the user was known at ", time_ms, " ms");
      }
      // What the row has seen came before it, in the order of known times.
      if (channel.partial_begin[key] < first || channel.partial_begin[key] > i ||
          (i > first && channel.key_time_ms[key - 1] > time_ms)) {
        return absl::StrCat("channel ", c, ": sees a row that sees later ones");
      }
    }
  }
  return "";
}

// Reads blocks in order until one holds the user.
class BlockReader {
 public:
  BlockReader(const ShardSet& shards, Split split) : shards_(shards), split_(split) {}

  StatusOr<const KnownTimes*> Of(uint64_t user_key) {
    while (!known_.HasUser(user_key)) {
      if (next_ == shards_.blocks().size()) {
        return absl::InternalError(
            absl::StrCat(shards_.dir(), ": a batch has a user that no further block holds"));
      }
      const ShardSet::BlockRef ref = shards_.blocks()[next_++];
      if (shards_.info(ref).targets[static_cast<size_t>(split_)] == 0) continue;
      GRAB_ASSIGN_OR_RETURN(UserBlock block, shards_.Read(ref));
      known_ = KnownTimes(std::move(block));
    }
    return &known_;
  }

 private:
  const ShardSet& shards_;
  const Split split_;
  size_t next_ = 0;
  KnownTimes known_;
};

}  // namespace

KnownTimes::KnownTimes(UserBlock block) : block_(std::move(block)) {
  for (size_t user = 0; user < block_.users(); ++user) {
    users_[HashId(block_.user_id[user])] = user;
  }
}

int64_t KnownTimes::Find(uint64_t user_key, uint64_t event_id) const {
  const auto user = users_.find(user_key);
  if (user == users_.end()) return -1;
  const auto begin = block_.events.event_id.begin();
  const auto last = begin + block_.user_offsets[user->second + 1];
  const auto found = std::find(begin + block_.user_offsets[user->second], last, event_id);
  return found == last ? -1 : found - begin;
}

bool KnownTimes::IsKnownTime(uint64_t user_key, int64_t time_ms) const {
  const size_t user = users_.at(user_key);
  const auto begin = block_.events.known_time_ms.begin();
  const auto [first, last] = std::equal_range(begin + block_.user_offsets[user],
                                              begin + block_.user_offsets[user + 1], time_ms);
  const auto history = block_.events.history.begin();
  return std::find(history + (first - begin), history + (last - begin), 1) !=
         history + (last - begin);
}

void CheckSegment(const Batch& batch, size_t segment, const KnownTimes& known,
                  HistoryCheck& check) {
  for (uint32_t row = batch.full_offsets[segment]; row < batch.full_offsets[segment + 1]; ++row) {
    ++check.targets;
    const std::string fault = FaultOf(batch, segment, row, known, check.rows);
    if (fault.empty()) continue;
    if (check.bad_targets++ > 0) continue;
    check.example = absl::StrCat("event ", batch.event_id[row], ", requested at ",
                                 batch.request_time_ms[row], " ms: ", fault);
  }
}

StatusOr<HistoryCheck> CheckHistory(const ShardSet& shards, const BatchBuilder& builder,
                                    const StreamOptions& options, uint64_t targets_max) {
  GRAB_CHECK(!options.shuffle);
  LoadedBlocks blocks(shards);
  BatchStream stream(blocks, builder, options);
  BlockReader reader(shards, options.split);
  HistoryCheck check;
  while (check.targets < targets_max) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<Batch> batch, stream.Next());
    if (!batch.has_value()) break;
    for (size_t segment = 0; segment + 1 < batch->full_offsets.size(); ++segment) {
      const uint64_t user_key = batch->user_key[batch->full_offsets[segment]];
      GRAB_ASSIGN_OR_RETURN(const KnownTimes* known, reader.Of(user_key));
      CheckSegment(*batch, segment, *known, check);
    }
  }
  return check;
}

}  // namespace grab
