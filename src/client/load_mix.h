// What a load generator sends: requests and events made of a real log, users as often as they are
// active in it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/timeline.h"
#include "proto/grab.pb.h"

namespace grab {

struct LoadMixOptions {
  int candidates = 128;
  size_t requests = 1000;      // different ones, made ahead
  size_t items = 4000;         // different candidates, rows of the log
  bool item_ids_only = false;  // candidates are named by id, their fields are in the catalogue
  uint64_t seed = 1;
};

class LoadMix {
 public:
  // `blocks`, of `schema`, must outlive it and hold an event.
  LoadMix(const Schema& schema, const std::vector<UserBlock>& blocks,
          const LoadMixOptions& options);

  const v1::RankRequest& Rank(Rng& rng) const { return requests_[rng.Below(requests_.size())]; }
  // An event of now.
  v1::ObserveRequest Observe(int64_t now_ms, uint64_t event_key, Rng& rng) const;
  // The items, in messages that a server takes.
  std::vector<v1::PutItemsRequest> Items() const;

 private:
  struct Place {
    size_t block = 0, user = 0, row = 0;
  };
  Place AnyEvent(Rng& rng) const;
  std::string ItemId(size_t item) const { return "grab-load-" + std::to_string(item); }

  const Schema& schema_;
  const std::vector<UserBlock>& blocks_;
  std::vector<uint64_t> ends_;  // events up to and with each block
  std::vector<Place> items_;
  std::vector<v1::RankRequest> requests_;
};

}  // namespace grab
