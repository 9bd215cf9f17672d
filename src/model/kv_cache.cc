#include "model/kv_cache.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"

namespace grab {
namespace {

size_t PageStride(const KvCacheOptions& options) {
  constexpr size_t kAlignment = 64;
  return (options.page_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

// A page, its times and link, and an entry with its sequences and up to four buckets.
size_t KvCache::BytesPerPage(const KvCacheOptions& options) {
  return PageStride(options) + kPageKeys * sizeof(int64_t) + sizeof(uint32_t) + sizeof(KvUser) +
         options.channels * sizeof(KvSequence) + 4 * sizeof(uint32_t);
}

StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const KvCacheOptions& options) {
  GRAB_CHECK(options.channels >= 1 && options.page_bytes > 0);
  const size_t share = BytesPerPage(options);
  const size_t pages = options.bytes_max / share;
  if (pages < 2 || pages >= kNone) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the cache of keys and values may take ", options.bytes_max, " bytes; expected from ",
        2 * share, " (two pages of ", kPageKeys, " events) to ", kNone, " pages"));
  }
  std::unique_ptr<KvCache> cache(new KvCache(options, pages, PageStride(options)));
  if (cache->memory_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a cache of ", options.bytes_max, " bytes"));
  }
  return cache;
}

KvCache::KvCache(const KvCacheOptions& options, size_t pages, size_t page_stride)
    : options_(options),
      page_stride_(page_stride),
      memory_(hwy::AllocateAligned<uint8_t>(pages * page_stride)),
      known_ms_(pages * kPageKeys),
      next_page_(pages),
      entries_(pages),
      sequences_(pages * options.channels),
      buckets_(std::bit_ceil(2 * pages), kNone) {
  stats_.bytes_max = options.bytes_max;
  for (uint32_t i = 0; i < pages; ++i) {
    const uint32_t next = i + 1 == pages ? kNone : i + 1;
    next_page_[i] = next;
    entries_[i].next_in_bucket = next;
  }
}

uint32_t& KvCache::Bucket(uint64_t version, uint64_t user) {
  return buckets_[HashCombine(version, user) & (buckets_.size() - 1)];
}

uint32_t KvCache::FindIndex(uint64_t version, uint64_t user) const {
  uint32_t i = buckets_[HashCombine(version, user) & (buckets_.size() - 1)];
  while (i != kNone && (entries_[i].version != version || entries_[i].user != user)) {
    i = entries_[i].next_in_bucket;
  }
  return i;
}

KvUser* KvCache::Find(uint64_t version, uint64_t user) {
  const uint32_t i = FindIndex(version, user);
  if (i == kNone) {
    ++stats_.misses;
    return nullptr;
  }
  ++stats_.hits;
  Touch(&entries_[i]);
  return &entries_[i];
}

void KvCache::Touch(KvUser* user) {
  Unlink(user);
  LinkNewest(user);
}

KvUser* KvCache::Peek(uint64_t version, uint64_t user) {
  const uint32_t i = FindIndex(version, user);
  return i == kNone ? nullptr : &entries_[i];
}

StatusOr<KvUser*> KvCache::Add(uint64_t version, uint64_t user) {
  GRAB_CHECK(FindIndex(version, user) == kNone);
  if (free_entry_ == kNone && !EvictOne(nullptr)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", entries_.size(), " users of the cache are in use"));
  }
  KvUser* added = &entries_[free_entry_];
  free_entry_ = added->next_in_bucket;
  *added = KvUser();
  added->version = version;
  added->user = user;
  uint32_t& bucket = Bucket(version, user);
  added->next_in_bucket = bucket;
  bucket = Index(added);
  for (size_t c = 0; c < options_.channels; ++c) {
    sequence(added, c) = {0, 0, 0, kNone, kNone, 0};
  }
  LinkNewest(added);
  ++stats_.users;
  return added;
}

void KvCache::Erase(KvUser* user) {
  GRAB_CHECK(Pins(user) == 0);
  for (size_t c = 0; c < options_.channels; ++c) {
    KvSequence& pages = sequence(user, c);
    if (pages.pages == 0) continue;
    next_page_[pages.back_page] = free_page_;
    free_page_ = pages.front_page;
    stats_.bytes -= pages.pages * page_stride_;
  }
  uint32_t* link = &Bucket(user->version, user->user);
  while (*link != Index(user)) link = &entries_[*link].next_in_bucket;
  *link = user->next_in_bucket;
  Unlink(user);
  user->next_in_bucket = free_entry_;
  free_entry_ = Index(user);
  --stats_.users;
}

void KvCache::Pin(KvUser* user) { std::atomic_ref(user->pins).fetch_add(1); }

void KvCache::Unpin(KvUser* user) { GRAB_CHECK(std::atomic_ref(user->pins).fetch_sub(1) > 0); }

uint32_t KvCache::Pins(const KvUser* user) {
  return std::atomic_ref(const_cast<KvUser*>(user)->pins).load();
}

KvSequence& KvCache::sequence(const KvUser* user, size_t channel) {
  return sequences_[Index(user) * options_.channels + channel];
}

const KvSequence& KvCache::sequence(const KvUser* user, size_t channel) const {
  return sequences_[Index(user) * options_.channels + channel];
}

Status KvCache::Reserve(KvUser* user, size_t channel, int64_t keys) {
  KvSequence& to = sequence(user, channel);
  while (to.first + to.pages * kPageKeys < keys) {
    const uint32_t page = TakePage(user);
    if (page == kNone) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no page is left in a cache of ", next_page_.size(), " for user ",
                       user->user, ", which holds ", to.pages, " in channel ", channel,
                       "; the users beside it are in use or it needs more than there is"));
    }
    std::memset(Data(page), 0, page_stride_);
    next_page_[page] = kNone;
    (to.pages == 0 ? to.front_page : next_page_[to.back_page]) = page;
    to.back_page = page;
    ++to.pages;
    stats_.bytes += page_stride_;
  }
  return absl::OkStatus();
}

void KvCache::Release(KvUser* user, size_t channel, int64_t first) {
  KvSequence& from = sequence(user, channel);
  while (from.pages > 0 && from.first + kPageKeys <= first) {
    const uint32_t page = from.front_page;
    from.last_released_ms = KnownTimes(page)[kPageKeys - 1];
    from.first += kPageKeys;
    from.front_page = next_page_[page];
    --from.pages;
    if (from.pages == 0) from.back_page = kNone;
    next_page_[page] = free_page_;
    free_page_ = page;
    stats_.bytes -= page_stride_;
  }
}

KvCacheStats KvCache::Stats() const { return stats_; }

void KvCache::Unlink(KvUser* user) {
  (user->newer == kNone ? newest_ : entries_[user->newer].older) = user->older;
  (user->older == kNone ? oldest_ : entries_[user->older].newer) = user->newer;
}

void KvCache::LinkNewest(KvUser* user) {
  user->newer = kNone;
  user->older = newest_;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = Index(user);
  newest_ = Index(user);
}

bool KvCache::EvictOne(const KvUser* keep) {
  for (uint32_t i = oldest_; i != kNone; i = entries_[i].newer) {
    if (Pins(&entries_[i]) > 0 || &entries_[i] == keep) continue;
    Erase(&entries_[i]);
    ++stats_.evictions;
    return true;
  }
  return false;
}

uint32_t KvCache::TakePage(const KvUser* keep) {
  while (free_page_ == kNone) {
    if (!EvictOne(keep)) return kNone;
  }
  const uint32_t page = free_page_;
  free_page_ = next_page_[page];
  return page;
}

}  // namespace grab
