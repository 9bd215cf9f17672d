// Random events to messages and back are the same events, over the bytes of the message, and every
// way in which a request can be wrong is refused by name.
#include <gtest/gtest.h>

#include <limits>

#include "base/hash.h"
#include "support/base_temp_dir.h"
#include "support/data_blocks.h"
#include "support/random_world.h"
#include "wire/wire_reader.h"
#include "wire/wire_writer.h"

namespace grab {
namespace {

constexpr int64_t kNowMs = 1'800'000'000'000;

class WireTest : public ::testing::Test {
 protected:
  WireTest() {
    schema_ = *Schema::FromConfig(testing::MakeConfig());
    store_ = *UserStore::Open({.dir = dir_.File("state"), .sync = false}, schema_);
    catalogue_ = *Catalogue::Load(*store_, 1 << 20);
  }
  WireReader Reader(const WireLimits& limits = {}, const std::string& item_field = "",
                    const std::string& user_field = "") const {
    return *WireReader::Create(schema_, *catalogue_, limits, item_field, user_field);
  }
  // The error of a request that differs from a good one.
  static void ExpectBad(const Status& status, const std::string& place) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(std::string(status.message()).find(place), std::string::npos)
        << "expected '" << place << "' in: " << status;
  }
  v1::RankRequest GoodRank() const {
    v1::RankRequest request;
    request.set_user_id("u");
    (*request.add_candidates()->mutable_fields())["ad"].set_id("7");
    return request;
  }
  v1::ObserveRequest GoodObserve() const {
    v1::ObserveRequest request;
    v1::Event& event = *request.add_events();
    event.set_user_id("u");
    event.set_event_id("e");
    return request;
  }
  Status ReadRank(const v1::RankRequest& request, const WireLimits& limits = {}) const {
    EventColumns columns;
    return Reader(limits).ReadCandidates(request, kNowMs, columns);
  }
  Status ReadObserve(const v1::ObserveRequest& request, const WireLimits& limits = {}) const {
    WireEvents events;
    return Reader(limits).ReadEvents(request, kNowMs, events);
  }

  TempDir dir_;
  Schema schema_;
  std::unique_ptr<UserStore> store_;
  std::unique_ptr<Catalogue> catalogue_;
};

TEST_F(WireTest, EventsSurvive) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const UserBlock block = testing::MakeBlock(schema_, seed, 3, 60);
    v1::ObserveRequest request;
    for (uint32_t user = 0; user < block.users(); ++user) {
      for (uint32_t row = block.user_offsets[user]; row < block.user_offsets[user + 1]; ++row) {
        WriteEvent(schema_, block.events, row, block.user_id[user], *request.add_events());
      }
    }
    v1::ObserveRequest received;
    ASSERT_TRUE(received.ParseFromString(request.SerializeAsString()));
    WireEvents events;
    const Status status = Reader().ReadEvents(received, kNowMs, events);
    ASSERT_TRUE(status.ok()) << status;
    UserBlock back = block;
    back.events = events.columns;
    back.events.split = block.events.split;  // a client does not say
    EXPECT_TRUE(SameBlocks(back, block));
    EXPECT_TRUE(Validate(schema_, back).ok());
  }
}

// A candidate's own value comes before its item's, that before the context's; ids as text, as
// integers and as keys are the same.
TEST_F(WireTest, ValuesHaveAnOrder) {
  v1::PutItemsRequest put;
  v1::Item& item = *put.add_items();
  item.set_item_id("i");
  (*item.mutable_fields())["price"].set_number(2.0);
  (*item.mutable_fields())["hour"].set_integer(5);
  std::vector<FieldColumn> fields;
  ASSERT_TRUE(Reader().ReadItems(put, fields).ok());
  const NewItem put_item{"i", &fields, 0};
  ASSERT_TRUE(catalogue_->Put({&put_item, 1}).ok());

  v1::RankRequest request;
  request.set_user_id("u");
  (*request.mutable_context())["price"].set_number(3.0);
  (*request.mutable_context())["hour"].set_id("6");
  (*request.mutable_context())["user"].set_key(HashId("9"));
  v1::Candidate& own = *request.add_candidates();
  own.set_item_id("i");
  (*own.mutable_fields())["price"].set_integer(1);
  request.add_candidates()->set_item_id("i");
  request.add_candidates()->set_item_id("unknown");
  EventColumns columns;
  const Status status = Reader({}, "ad").ReadCandidates(request, kNowMs, columns);
  ASSERT_TRUE(status.ok()) << status;
  const auto column = [&](const char* name) {
    return columns.fields[static_cast<size_t>(schema_.FieldIndex(name))];
  };
  EXPECT_EQ(column("price").numbers, (std::vector<float>{1.0f, 2.0f, 3.0f}));
  EXPECT_EQ(column("hour").ids, (std::vector<uint64_t>{HashId("5"), HashId("5"), HashId("6")}));
  EXPECT_EQ(column("user").ids, std::vector<uint64_t>(3, HashId("9")));
  EXPECT_EQ(column("ad").ids, (std::vector<uint64_t>{HashId("i"), HashId("i"), HashId("unknown")}));
  EXPECT_EQ(columns.request_time_ms, std::vector<int64_t>(3, kNowMs));
}

TEST_F(WireTest, RefusesWrongValues) {
  const struct {
    const char* field;
    const char* place;
    std::function<void(v1::Value&)> set;
  } kCases[] = {
      {"ad", "ad", [](v1::Value& v) { v.Clear(); }},
      {"ad", "ad", [](v1::Value& v) { v.set_id(""); }},
      {"ad", "ad", [](v1::Value& v) { v.set_id(std::string(2000, 'a')); }},
      {"ad", "ad", [](v1::Value& v) { v.set_key(0); }},
      {"ad", "ad", [](v1::Value& v) { v.set_number(1.5); }},
      {"price", "price", [](v1::Value& v) { v.set_id("1"); }},
      {"price", "price", [](v1::Value& v) { v.set_number(std::nan("")); }},
      {"price", "price", [](v1::Value& v) { v.set_number(1e300); }},
      {"image", "image", [](v1::Value& v) { v.mutable_vector()->add_values(1.0f); }},
      {"image", "image", [](v1::Value& v) { v.set_number(1.0); }},
      {"image", "image",
       [](v1::Value& v) {
         for (int i = 0; i < 3; ++i) {
           v.mutable_vector()->add_values(std::numeric_limits<float>::infinity());
         }
       }},
      {"tags", "tags", [](v1::Value& v) { v.mutable_ids()->add_ids("a"); }},  // no weight
      {"tags", "tags",
       [](v1::Value& v) {
         v.mutable_ids()->add_ids("a");
         v.mutable_ids()->add_keys(1);
       }},
      {"tags", "tags",
       [](v1::Value& v) {
         for (int i = 0; i < 2000; ++i) v.mutable_ids()->add_keys(1);
       }},
      {"pric", "did you mean 'price'", [](v1::Value& v) { v.set_number(1.0); }},
  };
  for (const auto& wrong : kCases) {
    SCOPED_TRACE(wrong.field);
    v1::RankRequest request = GoodRank();
    wrong.set((*request.mutable_candidates(0)->mutable_fields())[wrong.field]);
    ExpectBad(ReadRank(request), wrong.place);
    request = GoodRank();
    wrong.set((*request.mutable_context())[wrong.field]);
    // The candidate's own 'ad' hides the context's.
    if (std::string(wrong.field) != "ad") ExpectBad(ReadRank(request), wrong.place);
    v1::ObserveRequest observe = GoodObserve();
    wrong.set((*observe.mutable_events(0)->mutable_fields())[wrong.field]);
    ExpectBad(ReadObserve(observe), "events[0]");
  }
}

TEST_F(WireTest, RefusesWrongRequests) {
  ASSERT_TRUE(ReadRank(GoodRank()).ok());
  ASSERT_TRUE(ReadObserve(GoodObserve()).ok());
  const auto rank = [&](const std::string& place, const std::function<void(v1::RankRequest&)>& f) {
    v1::RankRequest request = GoodRank();
    f(request);
    ExpectBad(ReadRank(request, {.candidates_max = 3, .values_max = 40}), place);
  };
  rank("user_id", [](auto& r) { r.clear_user_id(); });
  rank("user_id", [](auto& r) { r.set_user_id(std::string(300, 'u')); });
  rank("time_ms", [](auto& r) { r.set_time_ms(-1); });
  rank("time_ms", [](auto& r) { r.set_time_ms(kNowMs + 86'400'000); });
  rank("candidates", [](auto& r) { r.clear_candidates(); });
  rank("candidates", [](auto& r) {
    for (int i = 0; i < 3; ++i) r.add_candidates();
  });
  rank("candidates[1].item_id",
       [](auto& r) { r.add_candidates()->set_item_id(std::string(300, 'i')); });
  rank("trace_id", [](auto& r) { r.set_trace_id(std::string(2000, 't')); });
  // A shared value counts in every candidate.
  rank("values over all rows", [](auto& r) {
    for (int i = 0; i < 20; ++i) {
      (*r.mutable_context())["tags"].mutable_ids()->add_keys(1);
      (*r.mutable_context())["tags"].mutable_ids()->add_weights(1.0f);
    }
    r.add_candidates();
  });
  const auto observe = [&](const std::string& place, const std::function<void(v1::Event&)>& f) {
    v1::ObserveRequest request = GoodObserve();
    *request.add_events() = request.events(0);
    f(*request.mutable_events(1));
    ExpectBad(ReadObserve(request), "events[1]");
    ExpectBad(ReadObserve(request), place);
  };
  observe("event_id", [](auto& e) { e.clear_event_id(); });
  observe("event_id", [](auto& e) { e.set_event_key(0); });
  observe("known_time_ms", [](auto& e) {
    e.set_request_time_ms(kNowMs);
    e.set_known_time_ms(kNowMs - 1);
  });
  observe("known_time_ms", [](auto& e) { e.set_known_time_ms(kNowMs * 2); });
  observe("'bought'", [](auto& e) { (*e.mutable_actions())["bought"] = true; });
  observe("labels", [](auto& e) { (*e.mutable_labels())["like"] = true; });
  observe("fields", [](auto& e) { (*e.mutable_fields())["nothing like it"].set_id("1"); });
  v1::ObserveRequest empty;
  ExpectBad(ReadObserve(empty), "events");
  v1::ObserveRequest many = GoodObserve();
  *many.add_events() = many.events(0);
  ExpectBad(ReadObserve(many, {.events_max = 1}), "events");
}

TEST_F(WireTest, RefusesFieldsOfSettingsThatAreNoIds) {
  for (const char* name : {"price", "nothing"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(WireReader::Create(schema_, *catalogue_, {}, name, "").status()));
    EXPECT_TRUE(
        absl::IsInvalidArgument(WireReader::Create(schema_, *catalogue_, {}, "", name).status()));
  }
}

}  // namespace
}  // namespace grab
