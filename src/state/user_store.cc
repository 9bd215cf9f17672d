#include "state/user_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <limits>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "state/event_record.h"
#include "state/user_record.h"

namespace grab {
namespace {

using rocksdb::Slice;

enum Family : size_t { kMeta, kUsers, kEvents, kIds, kItems };
constexpr const char* kFamilies[] = {"default", "users", "events", "ids", "items"};

constexpr char kSchemaKey[] = "schema";
constexpr char kOffsetPrefix[] = "offset/";
constexpr uint64_t kTrimEvery = 64;  // arrivals of a user between looks at the age of its events

Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat("state: ", what, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

absl::string_view AsView(const Slice& slice) { return {slice.data(), slice.size()}; }

rocksdb::ColumnFamilyOptions FamilyOptions(const UserStoreOptions& options, Family family,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions result;
  result.write_buffer_size = options.write_buffer_bytes;
  // What Delete erased leaves the files within a day.
  result.periodic_compaction_seconds = 86400;
  result.compression = rocksdb::kLZ4Compression;
  result.level_compaction_dynamic_level_bytes = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
  table.block_size = family == kEvents ? 16 << 10 : 4 << 10;
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (family == kEvents) result.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(8));
  return result;
}

}  // namespace

struct UserStore::Touched {
  uint64_t key = 0;
  std::vector<size_t> events;  // places in the batch
  UserState state;
  absl::flat_hash_set<uint64_t> ids;  // of this batch
  bool changed = false;
};

UserStore::UserStore(UserStoreOptions options, Schema schema)
    : options_(std::move(options)), schema_(std::move(schema)), stripes_(kStripes) {}

UserStore::~UserStore() {
  if (db_ == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  db_->Close();
}

StatusOr<std::unique_ptr<UserStore>> UserStore::Open(const UserStoreOptions& options,
                                                     const Schema& schema) {
  if (options.events_max == 0) {
    return absl::InvalidArgumentError("state: expected events_max >= 1, got 0");
  }
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.dir));
  std::unique_ptr<UserStore> store(new UserStore(options, schema));
  GRAB_RETURN_IF_ERROR(Annotate(store->OpenDatabase(), options.dir));
  GRAB_RETURN_IF_ERROR(Annotate(store->CheckSchema(), options.dir));
  return store;
}

Status UserStore::OpenDatabase() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_open_files = 512;
  options.max_total_wal_size = 4 * options_.write_buffer_bytes;
  options.keep_log_file_num = 4;
  options.info_log_level = rocksdb::WARN_LEVEL;
  // A kill may tear the last record, which nobody was told of; damage anywhere else is an error.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  const std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(options_.block_cache_bytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (size_t f = 0; f < std::size(kFamilies); ++f) {
    families.emplace_back(kFamilies[f], FamilyOptions(options_, static_cast<Family>(f), cache));
  }
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(options, options_.dir, families, &families_, &db);
  if (status.IsIOError() && status.ToString().find("LOCK") != std::string::npos) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process has it open: ", status.ToString()));
  }
  GRAB_RETURN_IF_ERROR(FromRocks(status, "cannot open"));
  db_.reset(db);
  return absl::OkStatus();
}

Status UserStore::CheckSchema() {
  std::string stored;
  const rocksdb::Status found = db_->Get({}, families_[kMeta], kSchemaKey, &stored);
  if (found.IsNotFound()) {
    rocksdb::WriteBatch batch;
    batch.Put(families_[kMeta], kSchemaKey, schema_.ToJson());
    return Write(batch);
  }
  GRAB_RETURN_IF_ERROR(FromRocks(found, "cannot read the schema"));
  if (stored == schema_.ToJson()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("its events follow another schema than the model: expected ", schema_.ToJson(),
                   ", got ", stored, "; serve such a model from a state folder of its own"));
}

Status UserStore::Write(rocksdb::WriteBatch& batch) {
  rocksdb::WriteOptions options;
  options.sync = options_.sync;
  rocksdb::Status status = db_->Write(options, &batch);
  // After a failed write (a full disk) the database refuses writes until it is resumed.
  if (status.severity() >= rocksdb::Status::kSoftError && db_->Resume().ok()) {
    status = db_->Write(options, &batch);
  }
  return FromRocks(status, "cannot write");
}

Status UserStore::AppendOf(Touched& user, absl::Span<const NewEvent> events,
                           absl::Span<AppendOutcome> outcomes, rocksdb::WriteBatch& batch) const {
  std::string record, ignored;
  for (const size_t i : user.events) {
    const NewEvent& event = events[i];
    if (event.user_id != user.state.user_id) {
      // Names neither: the caller may not know of the other user, and logs hold no ids.
      return absl::InvalidArgumentError(
          "user_id: another user's id has the same hash; this user needs another id");
    }
    const uint64_t event_id = event.columns->event_id[event.row];
    const int64_t known_ms = event.columns->known_time_ms[event.row];
    const std::string id_key = IdKey(user.key, event_id);
    const rocksdb::Status found = db_->Get({}, families_[kIds], id_key, &ignored);
    if (!found.ok() && !found.IsNotFound()) return FromRocks(found, "cannot read an event id");
    if (found.ok() || !user.ids.insert(event_id).second) {
      outcomes[i] = AppendOutcome::kDuplicate;
      continue;
    }
    if (user.state.trimmed_known_ms.has_value() && known_ms <= *user.state.trimmed_known_ms) {
      outcomes[i] = AppendOutcome::kTooOld;
      continue;
    }
    outcomes[i] = AppendOutcome::kStored;
    Arrive(known_ms, user.state);
    user.changed = true;
    record.clear();
    EncodeEvent(schema_, *event.columns, event.row, event.item_id, record);
    batch.Put(families_[kEvents], EventKey(user.key, {known_ms, user.state.sequence}), record);
    batch.Put(families_[kIds], id_key, Slice());
  }
  return absl::OkStatus();
}

Status UserStore::Trim(Touched& user, rocksdb::WriteBatch& batch) const {
  UserState& state = user.state;
  const uint64_t surplus = state.events > options_.events_max + options_.events_max / 8
                               ? state.events - options_.events_max
                               : 0;
  const bool by_age = options_.age_max_s > 0 && state.sequence % kTrimEvery == 0;
  if (surplus == 0 && !by_age) return absl::OkStatus();
  const int64_t age_max_ms = options_.age_max_s * 1000;
  rocksdb::ReadOptions options;
  options.prefix_same_as_start = true;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, families_[kEvents]));
  uint64_t trimmed = 0;
  for (it->Seek(EventKey(user.key, kFirstPosition)); it->Valid(); it->Next()) {
    GRAB_ASSIGN_OR_RETURN(const EventPosition position, PositionOf(AsView(it->key())));
    const bool old = by_age && state.newest_known_ms - position.known_ms > age_max_ms;
    if (trimmed >= surplus && !old) break;
    GRAB_ASSIGN_OR_RETURN(const uint64_t event_id, DecodeEventId(AsView(it->value())));
    batch.Delete(families_[kEvents], it->key());
    batch.Delete(families_[kIds], IdKey(user.key, event_id));
    state.trimmed_known_ms = position.known_ms;
    ++trimmed;
  }
  state.events -= trimmed;
  return FromRocks(it->status(), "cannot read events");
}

namespace {

Status CheckNew(const NewEvent& event) {
  if (event.user_id.empty() || event.user_id.size() > kUserIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("user_id: expected 1 to ", kUserIdBytesMax,
                                                   " bytes, got ", event.user_id.size()));
  }
  if (event.item_id.size() > kItemIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("item_id: expected at most ", kItemIdBytesMax,
                                                   " bytes, got ", event.item_id.size()));
  }
  if (event.columns->event_id[event.row] == 0) {
    return absl::InvalidArgumentError("event_id: expected an id, got none");
  }
  return absl::OkStatus();
}

// Of these users, in one order, so that two batches never wait for each other.
std::vector<std::unique_lock<std::mutex>> LockStripes(
    const std::map<uint64_t, std::vector<size_t>>& users, std::vector<std::mutex>& stripes) {
  std::set<size_t> needed;
  for (const auto& [key, places] : users) needed.insert(key % stripes.size());
  std::vector<std::unique_lock<std::mutex>> locks;
  for (const size_t stripe : needed) locks.emplace_back(stripes[stripe]);
  return locks;
}

std::string OffsetKey(absl::string_view source, int32_t partition) {
  return absl::StrCat(kOffsetPrefix, source, "/", partition);
}

}  // namespace

Status UserStore::AppendAll(absl::Span<const NewEvent> events, absl::Span<AppendOutcome> outcomes,
                            const SourceOffsets* offsets) {
  GRAB_CHECK(outcomes.size() == events.size());
  std::map<uint64_t, std::vector<size_t>> users;  // places of each in the batch
  for (size_t i = 0; i < events.size(); ++i) {
    GRAB_RETURN_IF_ERROR(CheckNew(events[i]));
    users[HashId(events[i].user_id)].push_back(i);
  }
  const auto locks = LockStripes(users, stripes_);
  rocksdb::WriteBatch batch;
  for (auto& [key, places] : users) {
    Touched user;
    user.key = key;
    user.events = std::move(places);
    GRAB_ASSIGN_OR_RETURN(std::optional<UserState> known, Find(key));
    if (known.has_value()) {
      user.state = *std::move(known);
    } else {
      user.state.user_id = std::string(events[user.events.front()].user_id);
      user.state.generation = db_->GetLatestSequenceNumber() + 1;
    }
    GRAB_RETURN_IF_ERROR(AppendOf(user, events, outcomes, batch));
    if (!user.changed) continue;
    GRAB_RETURN_IF_ERROR(Trim(user, batch));
    batch.Put(families_[kUsers], UserKey(key), EncodeUser(user.state));
  }
  if (offsets != nullptr) {
    for (const auto& [partition, next] : offsets->next) {
      batch.Put(families_[kMeta], OffsetKey(offsets->source, partition), absl::StrCat(next));
    }
  }
  return batch.Count() == 0 ? absl::OkStatus() : Write(batch);
}

StatusOr<std::optional<UserState>> UserStore::Find(uint64_t user_key) const {
  std::string record;
  const rocksdb::Status status = db_->Get({}, families_[kUsers], UserKey(user_key), &record);
  if (status.IsNotFound()) return std::nullopt;
  GRAB_RETURN_IF_ERROR(FromRocks(status, "cannot read a user"));
  GRAB_ASSIGN_OR_RETURN(UserState state, DecodeUser(record));
  return state;
}

StatusOr<std::optional<UserState>> UserStore::Find(absl::string_view user_id) const {
  GRAB_ASSIGN_OR_RETURN(std::optional<UserState> state, Find(HashId(user_id)));
  if (state.has_value() && state->user_id != user_id) return std::nullopt;
  return state;
}

Status UserStore::Read(uint64_t user_key, const std::optional<EventPosition>& after,
                       uint64_t events_max, UserEvents& events) const {
  const rocksdb::Snapshot* snapshot = db_->GetSnapshot();
  const auto release = [this](const rocksdb::Snapshot* s) { db_->ReleaseSnapshot(s); };
  const std::unique_ptr<const rocksdb::Snapshot, decltype(release)> held(snapshot, release);
  rocksdb::ReadOptions options;
  options.prefix_same_as_start = true;
  options.snapshot = snapshot;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, families_[kEvents]));
  // From the newest back to the first that is wanted, then forward.
  const std::string last = EventKey(user_key, kLastPosition);
  const std::string first = EventKey(user_key, after.value_or(kFirstPosition));
  uint64_t count = 0;
  std::string begin;
  for (it->SeekForPrev(last); it->Valid() && AsView(it->key()) > first && count < events_max;
       it->Prev()) {
    begin.assign(it->key().data(), it->key().size());
    ++count;
  }
  GRAB_RETURN_IF_ERROR(FromRocks(it->status(), "cannot read events"));
  if (count == 0) return absl::OkStatus();
  for (it->Seek(begin); it->Valid(); it->Next()) {
    GRAB_ASSIGN_OR_RETURN(const EventPosition position, PositionOf(AsView(it->key())));
    std::string item_id;
    GRAB_RETURN_IF_ERROR(Annotate(
        DecodeEvent(schema_, AsView(it->value()), position.known_ms, events.columns, item_id),
        absl::StrCat("state: event ", position.sequence, " of user ", user_key)));
    events.sequence.push_back(position.sequence);
    events.item_id.push_back(std::move(item_id));
  }
  return FromRocks(it->status(), "cannot read events");
}

StatusOr<std::optional<uint64_t>> UserStore::Delete(absl::string_view user_id) {
  const uint64_t key = HashId(user_id);
  const std::scoped_lock lock(stripes_[key % kStripes]);
  GRAB_ASSIGN_OR_RETURN(const std::optional<UserState> state, Find(user_id));
  if (!state.has_value()) return std::nullopt;
  rocksdb::WriteBatch batch;
  batch.Delete(families_[kUsers], UserKey(key));
  for (const Family family : {kEvents, kIds}) {
    const rocksdb::Status status =
        key == std::numeric_limits<uint64_t>::max()
            ? rocksdb::Status::NotSupported("the last key")
            : batch.DeleteRange(families_[family], UserKey(key), UserKey(key + 1));
    GRAB_RETURN_IF_ERROR(FromRocks(status, "cannot erase"));
  }
  GRAB_RETURN_IF_ERROR(Write(batch));
  return state->events;
}

StatusOr<std::map<int32_t, int64_t>> UserStore::Offsets(absl::string_view source) const {
  const std::string prefix = absl::StrCat(kOffsetPrefix, source, "/");
  std::map<int32_t, int64_t> next;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, families_[kMeta]));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    int32_t partition = 0;
    int64_t offset = 0;
    if (!absl::SimpleAtoi(AsView(it->key()).substr(prefix.size()), &partition) ||
        !absl::SimpleAtoi(AsView(it->value()), &offset)) {
      return absl::DataLossError(absl::StrCat("state: offset of ", source,
                                              ": expected numbers, got '", AsView(it->key()), "' '",
                                              AsView(it->value()), "'"));
    }
    next[partition] = offset;
  }
  GRAB_RETURN_IF_ERROR(FromRocks(it->status(), "cannot read offsets"));
  return next;
}

Status UserStore::PutItems(absl::Span<const std::pair<std::string, std::string>> items) {
  rocksdb::WriteBatch batch;
  for (const auto& [item_id, value] : items) batch.Put(families_[kItems], item_id, value);
  return Write(batch);
}

Status UserStore::RemoveItems(absl::Span<const std::string> item_ids) {
  rocksdb::WriteBatch batch;
  for (const std::string& item_id : item_ids) batch.Delete(families_[kItems], item_id);
  return Write(batch);
}

Status UserStore::ForEachItem(
    const std::function<Status(absl::string_view item_id, absl::string_view value)>& visit) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, families_[kItems]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    GRAB_RETURN_IF_ERROR(visit(AsView(it->key()), AsView(it->value())));
  }
  return FromRocks(it->status(), "cannot read items");
}

}  // namespace grab
