// What finished passes saw of a log that grows, so that late events are counted.
//
// The rule: a pass over [from, to) is prepared when the log has a request at or after to + lateness
// (or its writer says that it has ended). An event known before `from` that the log did not have
// when the pass that covers its known time was prepared is late: it is history, and a label of it
// that became final before `from` is never trained; one that becomes final later still is. The
// ledger keeps the number of events of each pass and a hash of which they were; the preparation of
// a later pass, whose context covers the earlier ones, shows what came since.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/shard.h"
#include "data/time_range.h"

namespace grab {

// Events of finished passes that are new, or no longer there, since the last look.
struct LateEvents {
  uint64_t late = 0;
  uint64_t gone = 0;            // removed from the log, or truncated (prepare.user_events_max)
  uint64_t passes_changed = 0;  // as many events as before, but others
};

class PassLedger {
 public:
  // Older passes are forgotten.
  static constexpr size_t kPassesMax = 10000;

  // Empty where there is no file `path`. Errors: DataLoss for a file that is no ledger.
  static StatusOr<PassLedger> Load(const std::string& path);

  // Compares what `shards` hold of the passes before `pass` with what those saw, and adds `pass`.
  // Passes that reach before `known` (data/prepare.h, KnownRange), and those at or after `pass`,
  // which is done again, are forgotten. Not saved: a pass that is interrupted before Save starts
  // from the same ledger. Errors: those of reading `shards`.
  StatusOr<LateEvents> Add(const ShardSet& shards, const TimeRange& pass, const TimeRange& known);

  Status Save(const std::string& path) const;

  size_t passes() const { return entries_.size(); }

 private:
  struct Entry {
    TimeRange range;
    uint64_t events = 0;       // known in the range
    uint64_t events_hash = 0;  // a sum over them, so that their order does not matter
  };
  StatusOr<std::vector<Entry>> CountEvents(const ShardSet& shards) const;

  std::vector<Entry> entries_;  // ascending, not overlapping
};

}  // namespace grab
