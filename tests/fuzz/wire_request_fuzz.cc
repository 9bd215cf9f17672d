// Any bytes as the body of a call, as JSON over HTTP and as protobuf over gRPC: refused, or rows
// that hold what rows must, within the bounds.
#include <google/protobuf/util/json_util.h>
#include <stdlib.h>

#include <filesystem>

#include "support/data_blocks.h"
#include "wire/wire_reader.h"

namespace grab {
namespace {

constexpr int64_t kNowMs = 1'800'000'000'000;

// Where bytes are read to; its folder lasts as long as the process.
struct World {
  World() {
    char dir[] = "/tmp/grab_fuzz_XXXXXX";
    store = *UserStore::Open({.dir = ::mkdtemp(dir), .sync = false}, AllKindsSchema());
    catalogue = *Catalogue::Load(*store, 1 << 20);
    reader = std::make_unique<WireReader>(*WireReader::Create(
        AllKindsSchema(), *catalogue, {.candidates_max = 64, .values_max = 4096}, "few", "many"));
  }
  std::unique_ptr<UserStore> store;
  std::unique_ptr<Catalogue> catalogue;
  std::unique_ptr<WireReader> reader;
};

void Check(EventColumns columns) {
  for (size_t i = 0; i < columns.size(); ++i) columns.event_id[i] = i + 1;
  UserBlock block;
  block.user_id = {"u"};
  block.user_offsets = {0, static_cast<uint32_t>(columns.size())};
  // Order of time is the store's.
  columns.request_time_ms.assign(columns.size(), 1);
  columns.known_time_ms.assign(columns.size(), 1);
  block.events = std::move(columns);
  if (!Validate(AllKindsSchema(), block).ok()) __builtin_trap();
}

template <class Request>
bool Parse(const std::string& bytes, bool json, Request& request) {
  if (json) return google::protobuf::util::JsonStringToMessage(bytes, &request).ok();
  return request.ParseFromString(bytes);
}

}  // namespace
}  // namespace grab

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const grab::World world;
  if (size == 0) return 0;
  const bool json = (data[0] & 1) != 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  grab::v1::RankRequest rank;
  grab::EventColumns columns;
  if (grab::Parse(bytes, json, rank) &&
      world.reader->ReadCandidates(rank, grab::kNowMs, columns).ok()) {
    grab::Check(std::move(columns));
  }
  grab::v1::ObserveRequest observe;
  grab::WireEvents events;
  if (grab::Parse(bytes, json, observe) &&
      world.reader->ReadEvents(observe, grab::kNowMs, events).ok()) {
    grab::Check(std::move(events.columns));
  }
  grab::v1::PutItemsRequest items;
  std::vector<grab::FieldColumn> fields;
  if (grab::Parse(bytes, json, items)) (void)world.reader->ReadItems(items, fields);
  return 0;
}
