#include "state/catalogue.h"

#include <mutex>

#include "base/check.h"
#include "state/event_record.h"

namespace grab {
namespace {

// What an entry takes beside its bytes: two strings and the map's slot.
constexpr size_t kEntryBytes = 2 * sizeof(std::string) + 8;

Status TooLarge(size_t bytes_max) {
  return absl::ResourceExhaustedError(
      absl::StrCat("items: the catalogue would take more than ", bytes_max, " bytes"));
}

size_t BytesOf(absl::string_view item_id, absl::string_view record) {
  return item_id.size() + record.size() + kEntryBytes;
}

}  // namespace

StatusOr<std::unique_ptr<Catalogue>> Catalogue::Load(UserStore& store, size_t bytes_max) {
  std::unique_ptr<Catalogue> catalogue(new Catalogue(store, bytes_max));
  GRAB_RETURN_IF_ERROR(store.ForEachItem([&](absl::string_view item_id, absl::string_view record) {
    return catalogue->Add(item_id, record);
  }));
  return catalogue;
}

Status Catalogue::Add(absl::string_view item_id, absl::string_view record) {
  std::vector<FieldColumn> fields = MakeColumns(store_.schema()).fields;
  GRAB_RETURN_IF_ERROR(Annotate(DecodeFields(store_.schema(), record, fields),
                                absl::StrCat("item '", item_id, "'")));
  bytes_ += BytesOf(item_id, record);
  if (bytes_ > bytes_max_) return TooLarge(bytes_max_);
  records_.emplace(std::string(item_id), std::string(record));
  return absl::OkStatus();
}

Status Catalogue::Put(absl::Span<const NewItem> items) {
  std::vector<std::pair<std::string, std::string>> records;
  for (const NewItem& item : items) {
    if (item.item_id.empty() || item.item_id.size() > kItemIdBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("item_id: expected 1 to ", kItemIdBytesMax,
                                                     " bytes, got ", item.item_id.size()));
    }
    std::string record;
    EncodeFields(store_.schema(), *item.fields, item.row, record);
    records.emplace_back(std::string(item.item_id), std::move(record));
  }
  const std::unique_lock lock(mutex_);
  // As if all were new: exact enough for a bound.
  size_t bytes = bytes_;
  for (const auto& [item_id, record] : records) bytes += BytesOf(item_id, record);
  if (bytes > bytes_max_) return TooLarge(bytes_max_);
  GRAB_RETURN_IF_ERROR(store_.PutItems(records));
  for (auto& [item_id, record] : records) {
    bytes_ += BytesOf(item_id, record);
    const auto [entry, added] = records_.try_emplace(item_id);
    if (!added) bytes_ -= BytesOf(item_id, entry->second);
    entry->second = std::move(record);
  }
  return absl::OkStatus();
}

Status Catalogue::Remove(absl::Span<const std::string> item_ids) {
  const std::unique_lock lock(mutex_);
  GRAB_RETURN_IF_ERROR(store_.RemoveItems(item_ids));
  for (const std::string& item_id : item_ids) {
    const auto entry = records_.find(item_id);
    if (entry == records_.end()) continue;
    bytes_ -= BytesOf(item_id, entry->second);
    records_.erase(entry);
  }
  return absl::OkStatus();
}

bool Catalogue::Find(absl::string_view item_id, std::vector<FieldColumn>& fields) const {
  const std::shared_lock lock(mutex_);
  const auto entry = records_.find(item_id);
  if (entry == records_.end()) return false;
  const Status status = DecodeFields(store_.schema(), entry->second, fields);
  GRAB_CHECK_MSG(status.ok(), status.ToString());  // Load and Put saw to it
  return true;
}

size_t Catalogue::items() const {
  const std::shared_lock lock(mutex_);
  return records_.size();
}

}  // namespace grab
