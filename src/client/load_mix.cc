#include "client/load_mix.h"

#include <algorithm>

#include "base/check.h"
#include "wire/wire_writer.h"

namespace grab {
namespace {

constexpr size_t kItemsPerMessage = 500;

}  // namespace

LoadMix::LoadMix(const Schema& schema, const std::vector<UserBlock>& blocks,
                 const LoadMixOptions& options)
    : schema_(schema), blocks_(blocks) {
  uint64_t events = 0;
  for (const UserBlock& block : blocks) ends_.push_back(events += block.events.size());
  GRAB_CHECK(events > 0);
  Rng rng(options.seed);
  for (size_t i = 0; i < options.items; ++i) items_.push_back(AnyEvent(rng));
  for (size_t r = 0; r < options.requests; ++r) {
    v1::RankRequest& request = requests_.emplace_back();
    const Place user = AnyEvent(rng);
    request.set_user_id(blocks[user.block].user_id[user.user]);
    for (int c = 0; c < options.candidates; ++c) {
      const size_t item = rng.Below(items_.size());
      v1::Candidate& candidate = *request.add_candidates();
      candidate.set_item_id(ItemId(item));
      if (options.item_ids_only) continue;
      WriteFields(schema, blocks[items_[item].block].events.fields, items_[item].row,
                  *candidate.mutable_fields());
    }
  }
}

LoadMix::Place LoadMix::AnyEvent(Rng& rng) const {
  const uint64_t event = rng.Below(ends_.back());
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), event);
  const auto block = static_cast<size_t>(end - ends_.begin());
  const UserBlock& of = blocks_[block];
  const size_t row = event - (*end - of.events.size());
  const auto user =
      std::upper_bound(of.user_offsets.begin(), of.user_offsets.end(), static_cast<uint32_t>(row));
  return {block, static_cast<size_t>(user - of.user_offsets.begin()) - 1, row};
}

v1::ObserveRequest LoadMix::Observe(int64_t now_ms, uint64_t event_key, Rng& rng) const {
  const Place place = AnyEvent(rng);
  const UserBlock& block = blocks_[place.block];
  v1::ObserveRequest request;
  v1::Event& event = *request.add_events();
  WriteEvent(schema_, block.events, place.row, block.user_id[place.user], event);
  event.set_event_key(event_key);
  event.set_request_time_ms(now_ms);
  event.set_known_time_ms(now_ms);
  return request;
}

std::vector<v1::PutItemsRequest> LoadMix::Items() const {
  std::vector<v1::PutItemsRequest> messages;
  for (size_t item = 0; item < items_.size(); ++item) {
    if (item % kItemsPerMessage == 0) messages.emplace_back();
    v1::Item& out = *messages.back().add_items();
    out.set_item_id(ItemId(item));
    WriteFields(schema_, blocks_[items_[item].block].events.fields, items_[item].row,
                *out.mutable_fields());
  }
  return messages;
}

}  // namespace grab
