// Requests that are written together: one that can never be stored fails alone. The writer is held
// up in the first request's callback, so that the three behind it are of one write for certain.
#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "server/observe_writer.h"
#include "support/colliding_ids.h"
#include "support/state_events.h"

namespace grab {
namespace {

// One event of `user_id`.
WireEvents EventOf(const Schema& schema, const std::string& user_id, uint64_t event_id) {
  Rng rng(event_id);
  return {EventsAt(schema, {static_cast<int64_t>(event_id)}, event_id, rng), {user_id}, {"item"}};
}

TEST(ObserveWriterTest, ARequestThatCannotBeStoredFailsAlone) {
  TempDir dir;
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state"), .sync = false});
  const std::unique_ptr<Ranker> ranker = *Ranker::Create({}, *store);
  const auto [known, refused] = testing::CollidingIds();
  std::promise<void> held, go_on;
  std::vector<Status> statuses;  // by the writer alone, in the order of the requests
  std::vector<size_t> outcomes;
  {
    ObserveWriter writer({}, *store, *ranker);
    writer.Submit(EventOf(store->schema(), known, 1),
                  [&](const Status& status, const WireEvents&, absl::Span<const AppendOutcome>) {
                    EXPECT_TRUE(status.ok()) << status;
                    held.set_value();
                    go_on.get_future().wait();
                  });
    held.get_future().wait();
    uint64_t event_id = 2;
    for (const std::string& user_id : {std::string("before"), refused, std::string("after")}) {
      writer.Submit(
          EventOf(store->schema(), user_id, event_id++),
          [&](const Status& status, const WireEvents&, absl::Span<const AppendOutcome> of_request) {
            statuses.push_back(status);
            outcomes.push_back(of_request.size());
          });
    }
    EXPECT_EQ(writer.queued_events(), 3u);
    go_on.set_value();
  }  // writes what is queued
  ASSERT_EQ(statuses.size(), 3u);
  EXPECT_TRUE(statuses[0].ok()) << statuses[0];
  EXPECT_TRUE(absl::IsInvalidArgument(statuses[1])) << statuses[1];
  EXPECT_TRUE(statuses[2].ok()) << statuses[2];
  EXPECT_EQ(outcomes, (std::vector<size_t>{1, 0, 1}));
  EXPECT_TRUE(store->Find("before")->has_value());
  EXPECT_TRUE(store->Find("after")->has_value());
  EXPECT_FALSE(store->Find(refused)->has_value());
}

}  // namespace
}  // namespace grab
