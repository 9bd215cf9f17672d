#include "serve/engine.h"

#include <algorithm>

#include "base/check.h"
#include "embedding/pool_row.h"

namespace grab {
namespace {

// Pairs per slot that need no allocation later.
constexpr size_t kPairsReserved = 64;

TokenColumns RowColumns(const Tokeniser& tokeniser) {
  TokenColumns columns = tokeniser.Empty();
  for (SlotColumn& column : columns.columns) {
    column.offsets.reserve(2);
    column.keys.reserve(kPairsReserved);
    column.weights.reserve(kPairsReserved);
  }
  return columns;
}

}  // namespace

KvCacheOptions Engine::CacheOptions(const PackedModel& model, size_t bytes_max) {
  KvCacheOptions options;
  options.bytes_max = bytes_max;
  options.channels = model.spec().channels.size();
  options.page_bytes = CachedPage(model).bytes();
  return options;
}

size_t Engine::BytesOfOneUser(const PackedModel& model, int64_t micro_batch_rows) {
  int64_t pages = 2;
  for (const ChannelSpec& channel : model.spec().channels) {
    pages += SequenceKeysMax(channel.plan, micro_batch_rows) / kPageKeys + 1;
  }
  return static_cast<size_t>(pages) * KvCache::BytesPerPage(CacheOptions(model, 0));
}

StatusOr<std::unique_ptr<Engine>> Engine::Create(const PackedModel& model, uint64_t version,
                                                 KvCache* cache, int64_t micro_batch_rows) {
  GRAB_CHECK(micro_batch_rows >= 1);
  const size_t channels = model.spec().channels.size();
  GRAB_CHECK((channels == 0) == (cache == nullptr));
  if (cache != nullptr) {
    const KvCacheOptions wanted = CacheOptions(model, 0);
    if (cache->channels() != wanted.channels || cache->page_bytes() != wanted.page_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the cache has ", cache->channels(), " channels and pages of ", cache->page_bytes(),
          " bytes, the model needs ", wanted.channels, " and ", wanted.page_bytes));
    }
  }
  return std::unique_ptr<Engine>(new Engine(model, version, cache, micro_batch_rows));
}

Engine::Engine(const PackedModel& model, uint64_t version, KvCache* cache, int64_t micro_batch_rows)
    : model_(model),
      version_(version),
      cache_(cache),
      rows_max_(micro_batch_rows),
      d_(model.spec().d_model),
      page_(model),
      partial_(model.spec().tokens, TokenView::kPartial),
      full_(model.spec().tokens, TokenView::kFull),
      partial_columns_(RowColumns(partial_)),
      full_columns_(RowColumns(full_)),
      stack_(model, micro_batch_rows) {
  const size_t channels = model.spec().channels.size();
  const auto rows = static_cast<size_t>(rows_max_);
  const auto floats = static_cast<size_t>(rows_max_ * d_);
  state_ = hwy::AllocateAligned<float>(floats * std::max<size_t>(1, channels));
  encoded_ = hwy::AllocateAligned<float>(floats);
  GRAB_CHECK_MSG(state_ != nullptr && encoded_ != nullptr,
                 "out of memory for the scratch of an engine");
  if (channels > 0) visible_ = std::make_unique<VisibleKeys>(model, *cache, rows_max_);
  chunk_events_.reserve(rows);
  channel_rows_.reserve(rows);
  channel_actions_.reserve(rows);
  start_.resize(channels);
  timelines_.resize(channels);
  segments_.reserve(rows);
}

bool Engine::Cached(uint64_t user) const {
  return cache_ != nullptr && cache_->Peek(version_, user) != nullptr;
}

uint64_t Engine::Events(uint64_t user) const {
  const KvUser* found = cache_ == nullptr ? nullptr : cache_->Peek(version_, user);
  return found == nullptr ? 0 : found->events;
}

Status Engine::Pin(uint64_t user) {
  if (cache_ == nullptr) return absl::OkStatus();
  KvUser* found = cache_->Find(version_, user);
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("user ", user, " is not cached"));
  cache_->Pin(found);
  return absl::OkStatus();
}

void Engine::Unpin(uint64_t user) {
  if (cache_ == nullptr) return;
  KvUser* found = cache_->Peek(version_, user);
  GRAB_CHECK(found != nullptr);
  cache_->Unpin(found);
}

void Engine::Drop(uint64_t user) {
  KvUser* found = cache_ == nullptr ? nullptr : cache_->Peek(version_, user);
  if (found != nullptr) cache_->Erase(found);
}

void Engine::PutToken(const Tokeniser& tokeniser, const PackedTokenizer& packed,
                      TokenColumns& columns, const EventColumns& events, size_t index,
                      int64_t row) {
  Clear(columns);
  tokeniser.Append(events, index, columns);
  PoolRow(model_.spec().tokens, model_.tables(), columns, 0, stack_.tokens() + row * packed.width);
}

}  // namespace grab
