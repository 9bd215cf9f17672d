#include "embedding/row_store.h"

#include <cstring>

#include "base/check.h"

namespace grab {

uint32_t RowStore::Append(uint64_t key) {
  GRAB_CHECK(size_ < kRowsMax);
  rows_.Grow((static_cast<size_t>(size_) + 1) * stride_);
  std::memset(row(size_), 0, stride_);
  std::memcpy(row(size_), &key, sizeof(key));
  return size_++;
}

uint32_t RowStore::Insert(uint64_t hash, uint64_t key) {
  const uint32_t place = Append(key);
  index_.Insert(hash, place, pinned_, [this](uint32_t other) { return HashAt(other); });
  return place;
}

void RowStore::Pin() {
  GRAB_CHECK(size_ == 0);
  Append(0);
  pinned_ = 1;
}

void RowStore::Erase(uint32_t place) {
  GRAB_CHECK(place >= pinned_ && place < size_);
  const uint32_t last = size_ - 1;
  index_.Erase(HashAt(place), place, [this](uint32_t other) { return HashAt(other); });
  if (place != last) {
    index_.Rename(HashAt(last), last, place);
    std::memcpy(row(place), row(last), stride_);
  }
  --size_;
}

}  // namespace grab
