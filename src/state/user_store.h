// The durable state of users: their events in RocksDB, in the order in which they became known, and
// the catalogue of items.
//
// An event is stored once: one that comes again (same user, same event id) is a duplicate and
// changes nothing. Every stored event of a user has a sequence number, 1, 2, ... in the order of
// arrival, never given twice. Events are trimmed by number and age, the oldest known first; what is
// known no later than the newest trimmed event is refused as too old, so that a trimmed event that
// comes again is no new one.
//
// Durability: with `sync` (the default) what AppendAll acknowledged survives a power cut, without
// it a kill of the process only. A batch is written whole or not at all, the offsets of its source
// included. Layout: docs/formats/state.md.
//
// Thread-safe; writers of one user wait for each other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "data/timeline.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class WriteBatch;
}  // namespace rocksdb

namespace grab {

inline constexpr size_t kItemIdBytesMax = 256;

struct UserStoreOptions {
  std::string dir;              // made if absent
  uint64_t events_max = 16384;  // per user; an eighth more may lie there between trims
  int64_t age_max_s = 0;        // behind the user's newest known event; 0: no bound
  bool sync = true;
  size_t block_cache_bytes = 64 << 20;
  size_t write_buffer_bytes = 64 << 20;
};

// An event to append: row `row` of `columns`, which follow the store's schema and outlive the call.
struct NewEvent {
  absl::string_view user_id;
  absl::string_view item_id;  // may be empty
  const EventColumns* columns = nullptr;
  size_t row = 0;
};

enum class AppendOutcome : uint8_t { kStored, kDuplicate, kTooOld };

// Position in a log that events come from: the next offset to read, by partition.
struct SourceOffsets {
  std::string source;
  std::map<int32_t, int64_t> next;
};

struct UserState {
  std::string user_id;
  uint64_t generation = 0;  // another one after the user was erased and came again
  uint64_t sequence = 0;    // of the newest arrival
  // Of the newest arrival that was known before events that lay there; 0: none.
  uint64_t late_sequence = 0;
  uint64_t events = 0;  // kept
  int64_t newest_known_ms = 0;
  std::optional<int64_t> trimmed_known_ms;  // of the newest event that was trimmed
};

// Events of one user, the oldest known first; equal times in the order of arrival.
struct UserEvents {
  EventColumns columns;
  std::vector<uint64_t> sequence;
  std::vector<std::string> item_id;

  size_t size() const { return sequence.size(); }
};

// Place of an event in its user's order.
struct EventPosition {
  int64_t known_ms = 0;
  uint64_t sequence = 0;
};

class UserStore {
 public:
  // FailedPrecondition: another schema, or another process has it open. DataLoss: a damaged file.
  static StatusOr<std::unique_ptr<UserStore>> Open(const UserStoreOptions& options,
                                                   const Schema& schema);
  ~UserStore();
  UserStore(const UserStore&) = delete;
  UserStore& operator=(const UserStore&) = delete;

  const Schema& schema() const { return schema_; }

  // Writes what is new in one write, with `offsets` if given; outcomes [events]. InvalidArgument,
  // and nothing is written: an event that can never be stored, for an empty or overlong id, an
  // event id of 0, or a user id whose hash is that of another user.
  Status AppendAll(absl::Span<const NewEvent> events, absl::Span<AppendOutcome> outcomes,
                   const SourceOffsets* offsets = nullptr);

  // Nullopt: not known. By a key alone it may be of another user whose id has the same hash.
  StatusOr<std::optional<UserState>> Find(uint64_t user_key) const;
  StatusOr<std::optional<UserState>> Find(absl::string_view user_id) const;

  // Appends to `events` (of this schema) those after `after` (from the oldest kept without it), the
  // newest `events_max` of them. DataLoss names the record that cannot be read.
  Status Read(uint64_t user_key, const std::optional<EventPosition>& after, uint64_t events_max,
              UserEvents& events) const;

  // Erases everything of the user; returns how many events that were, nullopt if it is not known.
  // The bytes leave the files with the next compaction, a day later at most.
  StatusOr<std::optional<uint64_t>> Delete(absl::string_view user_id);

  // Next offsets of a source, as stored by the last AppendAll that named it.
  StatusOr<std::map<int32_t, int64_t>> Offsets(absl::string_view source) const;

  // Items, each a row as stored by the catalogue (state/catalogue.h).
  Status PutItems(absl::Span<const std::pair<std::string, std::string>> items);
  Status RemoveItems(absl::Span<const std::string> item_ids);
  Status ForEachItem(
      const std::function<Status(absl::string_view item_id, absl::string_view value)>& visit) const;

 private:
  static constexpr size_t kStripes = 256;
  struct Touched;  // what AppendAll changes of one user

  UserStore(UserStoreOptions options, Schema schema);
  Status OpenDatabase();
  Status CheckSchema();
  Status AppendOf(Touched& user, absl::Span<const NewEvent> events,
                  absl::Span<AppendOutcome> outcomes, rocksdb::WriteBatch& batch) const;
  Status Trim(Touched& user, rocksdb::WriteBatch& batch) const;
  Status Write(rocksdb::WriteBatch& batch);

  const UserStoreOptions options_;
  const Schema schema_;
  std::unique_ptr<rocksdb::DB> db_;
  // In the order of kFamilies; owned by the database.
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  mutable std::vector<std::mutex> stripes_;
};

}  // namespace grab
