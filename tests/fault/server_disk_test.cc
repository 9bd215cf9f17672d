// A disk that takes no more (here: a bound on the size of files): Observe says so, ranking goes on,
// and what was acknowledged is there after a restart.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hash.h"
#include "bench/serving/server_process.h"
#include "checkpoint/model_files.h"
#include "client/connection.h"
#include "state/user_store.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"

namespace grab {
namespace {

constexpr int kBlocksMax = 2000;  // of 512 bytes, per file

Status Observe(Connection& connection, uint64_t number) {
  v1::ObserveRequest request;
  v1::Event& event = *request.add_events();
  event.set_user_id("u");
  event.set_event_key(number);
  event.set_known_time_ms(static_cast<int64_t>(number));
  for (int i = 0; i < 500; ++i) {
    (*event.mutable_fields())["tags"].mutable_ids()->add_keys(number * 1000 + uint64_t(i) + 1);
    (*event.mutable_fields())["tags"].mutable_ids()->add_weights(1.0f);
  }
  return connection.Observe(request, 20.0).status();
}

Status Rank(Connection& connection) {
  v1::RankRequest request;
  request.set_user_id("u");
  request.add_candidates();
  return connection.Rank(request, 20.0).status();
}

TEST(ServerDiskTest, AFullDiskLosesNothingAcknowledged) {
  TempDir dir;
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  ASSERT_TRUE(ExportModel(ViewOf(model), 1, Precision::kF32, dir.File("models")).ok());
  uint64_t acknowledged = 0;
  {
    const std::string bounded =
        absl::StrCat("trap '' XFSZ; ulimit -f ", kBlocksMax, "; exec \"$@\"");
    const auto server =
        bench::ServerProcess::Start("/bin/sh",
                                    {"-c", bounded, "sh", GRAB_SERVE_BINARY, "--model",
                                     dir.File("models"), "--state", dir.File("state")},
                                    dir.File("log"));
    ASSERT_TRUE(server.ok()) << server.status();
    const auto connection = (*server)->Connect();
    ASSERT_TRUE(connection.ok()) << connection.status();
    Status status;
    while (status.ok() && acknowledged < 5000) {
      status = Observe(**connection, acknowledged + 1);
      if (status.ok()) ++acknowledged;
    }
    ASSERT_FALSE(status.ok()) << "the bound was never met";
    EXPECT_GT(acknowledged, 10u);
    EXPECT_FALSE(absl::IsInvalidArgument(status)) << status;
    EXPECT_TRUE(Rank(**connection).ok());
    EXPECT_FALSE(Observe(**connection, acknowledged + 1).ok());
    (*server)->Kill();
  }
  const auto server = bench::ServerProcess::Start(
      GRAB_SERVE_BINARY, {"--model", dir.File("models"), "--state", dir.File("state")},
      dir.File("log"));
  ASSERT_TRUE(server.ok()) << server.status();
  const auto connection = (*server)->Connect();
  ASSERT_TRUE(connection.ok()) << connection.status();
  // Room again.
  EXPECT_TRUE(Observe(**connection, acknowledged + 2).ok());
  EXPECT_TRUE(Rank(**connection).ok());
  ASSERT_TRUE((*server)->Stop().ok());
  UserStoreOptions options;
  options.dir = dir.File("state");
  const auto store = UserStore::Open(options, model.spec.tokens.schema);
  ASSERT_TRUE(store.ok()) << store.status();
  UserEvents events;
  events.columns = MakeColumns(model.spec.tokens.schema);
  ASSERT_TRUE((*store)->Read(HashId("u"), std::nullopt, UINT64_MAX, events).ok());
  std::vector<bool> stored(acknowledged + 3, false);
  for (const uint64_t id : events.columns.event_id) {
    ASSERT_LT(id, stored.size());
    EXPECT_FALSE(stored[id]) << "twice: " << id;
    stored[id] = true;
  }
  for (uint64_t id = 1; id <= acknowledged; ++id) EXPECT_TRUE(stored[id]) << "lost: " << id;
}

}  // namespace
}  // namespace grab
