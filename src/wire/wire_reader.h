// Messages of grab.proto to rows of the schema. Everything a message says is checked here,
// within `WireLimits`: an InvalidArgument names the field of the message at fault, expected and
// got.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "data/timeline.h"
#include "proto/grab.pb.h"
#include "state/catalogue.h"
#include "state/user_store.h"

namespace grab {

struct WireLimits {
  int candidates_max = 4096;        // of a request
  int events_max = 4096;            // of a request
  int items_max = 4096;             // of a request
  int ids_max = 1024;               // of one value
  int text_bytes_max = 1024;        // of one id or trace id
  size_t values_max = 4 << 20;      // of all rows of a request, what they share counted in each
  int64_t time_ahead_s_max = 3600;  // of this machine's clock
};

// Events of a request as rows, with what AppendAll needs beside them.
struct WireEvents {
  EventColumns columns;
  std::vector<std::string> user_id, item_id;

  size_t size() const { return columns.size(); }
  NewEvent At(size_t row) const { return {user_id[row], item_id[row], &columns, row}; }
};

class WireReader {
 public:
  // `catalogue` must outlive it. `item_field` and `user_field`, each the name of an id field or
  // empty, are filled with the item's and the user's id where nothing else gives them.
  static StatusOr<WireReader> Create(const Schema& schema, const Catalogue& catalogue,
                                     const WireLimits& limits, const std::string& item_field,
                                     const std::string& user_field);

  const Schema& schema() const { return schema_; }

  // Each candidate as a row, by its own fields, then the catalogue's, then the request's context.
  Status ReadCandidates(const v1::RankRequest& request, int64_t now_ms, EventColumns& out) const;
  Status ReadCandidates(const v1::InspectRequest& request, int64_t now_ms, EventColumns& out) const;
  Status ReadEvents(const v1::ObserveRequest& request, int64_t now_ms, WireEvents& out) const;
  // Fields of items, one row each.
  Status ReadItems(const v1::PutItemsRequest& request, std::vector<FieldColumn>& out) const;

  static Status CheckUser(absl::string_view user_id);

 private:
  using Fields = google::protobuf::Map<std::string, v1::Value>;
  // Where the values of a row come from, the first that has one.
  struct Sources {
    const Fields* own = nullptr;
    const std::vector<FieldColumn>* item = nullptr;  // row 0, or null
    const Fields* shared = nullptr;                  // may be null
    absl::string_view item_id, user_id;
  };

  WireReader(const Schema& schema, const Catalogue& catalogue, const WireLimits& limits)
      : schema_(schema), catalogue_(catalogue), limits_(limits) {}
  template <class Request>
  Status ReadCandidatesOf(const Request& request, int64_t now_ms, EventColumns& out) const;
  Status CheckNames(const Fields& fields, const std::string& place) const;
  Status CheckTime(int64_t time_ms, int64_t now_ms, const std::string& place) const;
  static Status CheckItem(absl::string_view item_id, const std::string& place);
  static Status CheckCount(const char* what, int count, int count_max);
  Status AppendFields(const Sources& sources, const std::string& place,
                      std::vector<FieldColumn>& out) const;
  // The errors of these do not name the place.
  Status AppendValue(const FieldSchema& field, const v1::Value& value, FieldColumn& out) const;
  Status AppendIds(const FieldSchema& field, const v1::IdList& list, FieldColumn& out) const;
  StatusOr<uint64_t> KeyOf(const v1::Value& value) const;
  StatusOr<uint64_t> KeyOfText(absl::string_view id) const;
  Status CheckSize(const std::vector<FieldColumn>& fields, const std::string& place) const;
  Status AppendEvent(const v1::Event& event, int64_t now_ms, const std::string& place,
                     WireEvents& out) const;

  Schema schema_;
  const Catalogue& catalogue_;
  WireLimits limits_;
  absl::flat_hash_map<std::string, size_t> fields_, actions_, tasks_;  // by name
  int item_field_ = -1, user_field_ = -1;
};

}  // namespace grab
