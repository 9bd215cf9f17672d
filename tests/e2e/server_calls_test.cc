// A whole server in the test's process, called over gRPC and over HTTP as users call it.
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/hash.h"
#include "proto/grab.grpc.pb.h"
#include "support/running_server.h"

namespace grab {
namespace {

using testing::RunningServer;

constexpr char kAdmin[] = "admin-admin-admin-admin";
constexpr char kRanks[] = "ranks-ranks-ranks-ranks";

nlohmann::json Json(const HttpReply& reply) {
  return nlohmann::json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
}

class ServerCallsTest : public ::testing::Test {
 protected:
  void Start() {
    const Status status = running_.Start();
    ASSERT_TRUE(status.ok()) << status;
    connection_ = running_.Connect();
  }
  int http() { return running_.server().http_port(); }
  int admin() { return running_.server().admin_http_port(); }

  RunningServer running_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ServerCallsTest, ObservesRanksShowsAndErases) {
  Start();
  const std::string event =
      R"({"events": [{"user_id": "u1", "event_id": "e1", "item_id": "i1", "known_time_ms": 1000,
          "fields": {"ad": {"id": "3"}, "price": {"number": 0.5}},
          "actions": {"click": true}, "labels": {"click": true}}]})";
  EXPECT_EQ(Json(running_.Post(http(), "/v1/observe", event))["outcomes"][0], "STORED");
  EXPECT_EQ(Json(running_.Post(http(), "/v1/observe", event))["outcomes"][0], "DUPLICATE");
  const std::string rank = R"({"user_id": "u1", "trace_id": "t-1", "candidates": [
      {"fields": {"ad": {"id": "3"}}}, {"fields": {"ad": {"integer": "5"}}}]})";
  const nlohmann::json ranked = Json(running_.Post(http(), "/v1/rank", rank));
  ASSERT_EQ(ranked["scores"].size(), 2u) << ranked;
  EXPECT_EQ(ranked["scores"][0]["probability"].size(), 2u);
  EXPECT_EQ(ranked["tasks"], (std::vector<std::string>{"click", "buy"}));
  EXPECT_EQ(ranked["sequence"], "1");
  EXPECT_EQ(ranked["model_step"], "1");
  EXPECT_EQ(ranked["trace_id"], "t-1");
  EXPECT_EQ(ranked["degraded"], false);

  // The same over gRPC, to the bit.
  v1::RankRequest request;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(rank, &request).ok());
  const auto response = connection_->Rank(request, 10.0);
  ASSERT_TRUE(response.ok()) << response.status();
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_EQ(response->scores(static_cast<int>(c)).probability(0),
              ranked["scores"][c]["probability"][0].get<float>());
  }

  const nlohmann::json user = Json(running_.Post(admin(), "/v1/user", R"({"user_id": "u1"})"));
  EXPECT_EQ(user["known"], true);
  ASSERT_EQ(user["newest"].size(), 1u) << user;
  EXPECT_EQ(user["newest"][0]["item_id"], "i1");
  EXPECT_EQ(user["newest"][0]["fields"]["ad"]["key"], std::to_string(HashId("3")));
  EXPECT_EQ(user["newest"][0]["actions"], nlohmann::json({{"click", true}}));
  EXPECT_EQ(Json(running_.Post(admin(), "/v1/delete_user", R"({"user_id": "u1"})"))["events"], "1");
  EXPECT_EQ(Json(running_.Post(admin(), "/v1/user", R"({"user_id": "u1"})"))["known"], false);
  const nlohmann::json after = Json(running_.Post(http(), "/v1/rank", rank));
  EXPECT_EQ(after["sequence"], "0");
  EXPECT_NE(after["scores"], ranked["scores"]);
}

TEST_F(ServerCallsTest, LooksItemsUp) {
  running_.options().service.item_field = "ad";
  Start();
  const auto score = [&] {
    return Json(running_.Post(http(), "/v1/rank",
                              R"({"user_id": "u", "candidates": [{"item_id": "4"}]})"))["scores"];
  };
  const nlohmann::json bare = score();
  const nlohmann::json put =
      Json(running_.Post(admin(), "/v1/put_items",
                         R"({"items": [{"item_id": "4", "fields": {"price": {"number": 0.9}}}]})"));
  EXPECT_EQ(put["items"], "1") << put;
  EXPECT_NE(score(), bare);
  // As if it were sent.
  EXPECT_EQ(score(), Json(running_.Post(http(), "/v1/rank",
                                        R"({"user_id": "u", "candidates": [{"item_id": "x",
      "fields": {"ad": {"id": "4"}, "price": {"number": 0.9}}}]})"))["scores"]);
  EXPECT_EQ(Json(running_.Post(admin(), "/v1/remove_items", R"({"item_ids": ["4"]})"))["items"],
            "0");
  EXPECT_EQ(score(), bare);
}

TEST_F(ServerCallsTest, NamesWhatIsWrong) {
  Start();
  const struct {
    const char* path;
    const char* json;
    int status;
    const char* named;
  } kCases[] = {
      {"/v1/rank", "{", 400, "body"},
      {"/v1/rank", R"({"user": "u"})", 400, "user"},
      {"/v1/rank", R"({"user_id": "u"})", 400, "candidates"},
      {"/v1/rank", R"({"candidates": [{}]})", 400, "user_id"},
      {"/v1/rank", R"({"user_id": "u", "candidates": [{"fields": {"prise": {"number": 1}}}]})", 400,
       "did you mean 'price'"},
      {"/v1/observe", R"({"events": [{"user_id": "u"}]})", 400, "event_id"},
      {"/v1/nothing", "{}", 404, "/v1/nothing"},
      {"/v1/user", R"({"user_id": "u"})", 404, "/v1/user"},  // on the serving port
      {"/healthz", "{}", 405, "POST"},
  };
  for (const auto& wrong : kCases) {
    const HttpReply reply = running_.Post(http(), wrong.path, wrong.json);
    EXPECT_EQ(reply.status, wrong.status) << wrong.path << " " << wrong.json << reply.body;
    EXPECT_NE(reply.body.find(wrong.named), std::string::npos) << reply.body;
  }
  // What a form of another site could send.
  EXPECT_EQ(
      HttpClient(http()).Call("POST", "/v1/rank", "{}", "Content-Type: text/plain\r\n").status,
      400);
  EXPECT_EQ(running_.Post(http(), "/v1/rank", "{}", "X-Timeout-Ms: soon\r\n").status, 400);
  // Depth and size of JSON are bounded.
  const std::string deep(100000, '[');
  EXPECT_EQ(running_.Post(http(), "/v1/rank", R"({"candidates": )" + deep).status, 400);
  EXPECT_EQ(running_.Post(http(), "/v1/rank", std::string(5 << 20, ' ')).status, 413);
}

TEST_F(ServerCallsTest, AsksForTokens) {
  running_.options().access =
      *Access::FromText(absl::StrCat(kAdmin, " rank,observe,admin\n", kRanks, " rank\n"), "tokens");
  Start();
  const std::string rank = R"({"user_id": "u", "candidates": [{}]})";
  const std::string ranks = absl::StrCat("Authorization: Bearer ", kRanks, "\r\n");
  const std::string all = absl::StrCat("Authorization: Bearer ", kAdmin, "\r\n");
  EXPECT_EQ(running_.Post(http(), "/v1/rank", rank).status, 401);
  EXPECT_EQ(running_.Post(http(), "/v1/rank", rank, ranks).status, 200);
  EXPECT_EQ(running_.Post(http(), "/v1/observe", "{}", ranks).status, 403);
  EXPECT_EQ(running_.Post(admin(), "/v1/status", "{}", ranks).status, 403);
  EXPECT_EQ(running_.Post(admin(), "/v1/status", "{}", all).status, 200);
  const auto over_grpc = [&](const std::string& token) {
    const std::unique_ptr<Connection> connection = running_.Connect(token);
    v1::RankRequest request;
    request.set_user_id("u");
    request.add_candidates();
    return connection->Rank(request, 10.0).status();
  };
  EXPECT_TRUE(absl::IsUnauthenticated(over_grpc("")));
  EXPECT_TRUE(absl::IsUnauthenticated(over_grpc("someone else's token")));
  EXPECT_TRUE(over_grpc(kRanks).ok());
}

TEST_F(ServerCallsTest, TellsHowItIs) {
  Start();
  EXPECT_EQ(HttpClient(http()).Call("GET", "/healthz").status, 200);
  running_.Post(
      http(), "/v1/observe",
      R"({"events": [{"user_id": "someone@mail", "event_id": "e", "known_time_ms": 1}]})");
  for (int i = 0; i < 3; ++i) {
    running_.Post(
        http(), "/v1/rank",
        R"({"user_id": "someone@mail", "time_ms": "5000", "candidates": [{"item_id": "i"}]})");
  }
  // Its label comes: the live PCOC knows one prediction.
  running_.Post(http(), "/v1/observe",
                R"({"events": [{"user_id": "someone@mail", "event_id": "f", "item_id": "i",
                    "request_time_ms": 5000, "known_time_ms": 6000, "labels": {"click": true}}]})");
  const std::string text = HttpClient(admin()).Call("GET", "/metrics").body;
  for (const char* line :
       {"grab_calls_total{code=\"OK\",method=\"Rank\"} 3",
        "grab_events_total{outcome=\"stored\"} 2", "grab_stage_seconds_count{stage=\"total\"} 3",
        "grab_feedback_total{task=\"click\"} 1", "grab_feedback_observed_total{task=\"click\"} 1",
        "grab_model_step{arm=\"a\"} 1", "grab_cache_users 1"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
  EXPECT_EQ(text.find("someone"), std::string::npos);
  const nlohmann::json status = Json(running_.Post(admin(), "/v1/status", "{}"));
  EXPECT_EQ(status["models"][0]["step"], "1") << status;
  EXPECT_EQ(status["models"][0]["precision"], "f32");
  EXPECT_EQ(status["cached_users"], "1");
  running_.Post(admin(), "/v1/delete_user", R"({"user_id": "someone@mail"})");
  for (const std::string& line : running_.log()) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_EQ(line.find("someone"), std::string::npos) << line;
  }
}

TEST_F(ServerCallsTest, PastDeadlinesEnd) {
  Start();
  v1::RankRequest request;
  request.set_user_id("u");
  for (int c = 0; c < 2000; ++c) request.add_candidates();
  EXPECT_TRUE(absl::IsDeadlineExceeded(connection_->Rank(request, 1e-5).status()));
  const auto response = connection_->Rank(request, 30.0);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->scores_size(), 2000);
}

// A call that its client gives up while it waits is not scored.
TEST_F(ServerCallsTest, CancelledCallsAreDropped) {
  running_.options().ranker.batch_wait_s = 1.0;  // in which it is cancelled
  Start();
  const auto metric = [&](const std::string& line) {
    const Stopwatch watch;
    while (watch.Seconds() < 30.0) {
      if (HttpClient(admin()).Call("GET", "/metrics").body.find(line) != std::string::npos) return;
    }
    ADD_FAILURE() << line << " never came";
  };
  v1::RankRequest request;
  request.set_user_id("u");
  request.add_candidates();
  v1::RankResponse response;
  grpc::ClientContext context;
  connection_->Prepare(60.0, context);
  std::promise<grpc::Status> ended;
  const auto stub = connection_->NewStub();
  stub->async()->Rank(&context, &request, &response,
                      [&](const grpc::Status& status) { ended.set_value(status); });
  metric("grab_queue_candidates 1\n");
  context.TryCancel();
  EXPECT_EQ(ended.get_future().get().error_code(), grpc::StatusCode::CANCELLED);
  metric("grab_calls_total{code=\"CANCELLED\",method=\"Rank\"} 1\n");
  metric("grab_ranked_total 0\n");
}

// Users are split by a hash of their id, and each arm answers with its model.
TEST_F(ServerCallsTest, SplitsUsersBetweenArms) {
  const Model other = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 2);
  const std::string dir = running_.dir().File("models_b");
  ASSERT_TRUE(ExportModel(ViewOf(other), 20, Precision::kF32, dir).ok());
  running_.options().model_b_dir = dir;
  running_.options().service.arm_b_fraction = 0.25;
  Start();
  int in_b = 0;
  for (int u = 0; u < 400; ++u) {
    const nlohmann::json ranked = Json(running_.Post(
        http(), "/v1/rank", absl::StrCat(R"({"user_id": "u)", u, R"(", "candidates": [{}]})")));
    const bool b = ranked["arm"] == "b";
    EXPECT_EQ(ranked["model_step"], b ? "20" : "1");
    in_b += b ? 1 : 0;
  }
  // 100 expected, standard deviation 8.7.
  EXPECT_GT(in_b, 60);
  EXPECT_LT(in_b, 140);
}

TEST(ServerStartTest, SaysWhyItCannot) {
  {
    RunningServer running;
    running.options().model_dir = running.dir().File("nothing");
    EXPECT_TRUE(absl::IsNotFound(running.Start()));
  }
  {
    RunningServer running;
    running.options().address = "0.0.0.0";
    const Status status = running.Start();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("--tokens"), absl::string_view::npos) << status;
  }
  {
    RunningServer first, second;
    ASSERT_TRUE(first.Start().ok());
    second.options().grpc_port = first.server().grpc_port();
    EXPECT_TRUE(absl::IsUnavailable(second.Start()));
    second.options().grpc_port = 0;
    second.options().admin_http_port = first.server().admin_http_port();
    EXPECT_TRUE(absl::IsUnavailable(second.Start()));
    second.options().admin_http_port = 0;
    second.options().store.dir = first.options().store.dir;
    EXPECT_TRUE(absl::IsFailedPrecondition(second.Start()));
  }
}

}  // namespace
}  // namespace grab
