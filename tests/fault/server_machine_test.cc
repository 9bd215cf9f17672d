// A machine that is not well: a disk whose syncs take long, a wall clock that jumps. The server is
// a process of its own with tests/support/faulty_machine.cc preloaded.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "base/clock.h"
#include "base/unix_time.h"
#include "bench/serving/server_process.h"
#include "checkpoint/model_files.h"
#include "support/base_temp_dir.h"
#include "support/machine_faults.h"
#include "support/random_model.h"

namespace grab {
namespace {

constexpr double kTimeout_s = 30.0;
constexpr char kUser[] = "u";

v1::ObserveRequest EventOf(uint64_t key) {
  v1::ObserveRequest request;
  v1::Event& event = *request.add_events();
  event.set_user_id(kUser);
  event.set_event_key(key);
  (*event.mutable_fields())["ad"].set_key(key);
  return request;
}

class ServerMachineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
    ASSERT_TRUE(ExportModel(ViewOf(model), 1, Precision::kF32, dir_.File("models")).ok());
    const int file = ::open(dir_.File("faults").c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_GE(file, 0);
    ASSERT_EQ(::ftruncate(file, sizeof(MachineFaults)), 0);
    void* const at =
        ::mmap(nullptr, sizeof(MachineFaults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    ASSERT_NE(at, MAP_FAILED);
    faults_ = static_cast<MachineFaults*>(at);
    Start();
  }
  void TearDown() override {
    if (faults_ != nullptr) ::munmap(faults_, sizeof(MachineFaults));
  }

  void Start() {
    auto server = bench::ServerProcess::Start(
        "/usr/bin/env",
        {"LD_PRELOAD=" GRAB_FAULTY_MACHINE,
         absl::StrCat(kMachineFaultsEnv, "=", dir_.File("faults")), GRAB_SERVE_BINARY, "--model",
         dir_.File("models"), "--state", dir_.File("state")},
        dir_.File("log"));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto connection = server_->Connect();
    ASSERT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
  }
  void Restart() {
    ASSERT_TRUE(server_->Stop().ok());
    Start();
  }

  MachineFaults& faults() { return *faults_; }

  v1::Outcome Observe(uint64_t key) const {
    const auto response = connection_->Observe(EventOf(key), kTimeout_s);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->outcomes(0) : v1::TOO_OLD;
  }
  v1::RankResponse Rank(int64_t time_ms = 0) const {
    v1::RankRequest request;
    request.set_user_id(kUser);
    request.set_time_ms(time_ms);
    (*request.add_candidates()->mutable_fields())["ad"].set_key(4);
    const auto response = connection_->Rank(request, kTimeout_s);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : v1::RankResponse();
  }

  const TempDir dir_;
  MachineFaults* faults_ = nullptr;
  std::unique_ptr<bench::ServerProcess> server_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ServerMachineTest, RanksWhileTheDiskIsSlow) {
  constexpr double kSync_s = 0.3;
  constexpr uint64_t kObservers = 4, kEach = 3;
  constexpr int kRanks = 50;
  EXPECT_EQ(Observe(1), v1::STORED);
  EXPECT_EQ(Rank().sequence(), 1u);
  faults().sync_delay_ms = static_cast<int64_t>(kSync_s * 1000.0);
  std::vector<std::thread> observers;
  for (uint64_t o = 0; o < kObservers; ++o) {
    observers.emplace_back([&, o] {
      for (uint64_t i = 0; i < kEach; ++i) {
        const Stopwatch watch;
        EXPECT_EQ(Observe(10 + o * kEach + i), v1::STORED);
        EXPECT_GE(watch.Seconds(), kSync_s) << "acknowledged before it was on disk";
      }
    });
  }
  // Of the very user whose events are being written.
  const Stopwatch watch;
  for (int i = 0; i < kRanks; ++i) Rank();
  EXPECT_LT(watch.Seconds(), kRanks * kSync_s / 4) << "ranking waits for the disk";
  for (std::thread& observer : observers) observer.join();
  EXPECT_EQ(Rank().sequence(), 1 + kObservers * kEach);
  // Who gives up before it is written learns what became of it by sending it again.
  const auto late = connection_->Observe(EventOf(2), kSync_s / 3);
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
  EXPECT_EQ(Observe(2), v1::DUPLICATE);
  EXPECT_EQ(Rank().sequence(), 2 + kObservers * kEach);
}

TEST_F(ServerMachineTest, KeepsEverythingWhenTheClockJumps) {
  constexpr int64_t kDayMs = 86'400'000;
  uint64_t key = 0;
  std::vector<float> ranked;
  for (const int64_t offset_ms : {int64_t{0}, -kDayMs, kDayMs, int64_t{0}}) {
    faults().clock_offset_ms = offset_ms;
    EXPECT_EQ(Observe(++key), v1::STORED) << offset_ms;
    EXPECT_EQ(Observe(key), v1::DUPLICATE) << offset_ms;
    const v1::RankResponse response = Rank();
    EXPECT_EQ(response.sequence(), key) << offset_ms;
    ranked.push_back(response.scores(0).probability(0));
  }
  // The clock is what "now" means: a day back, only what was known by then is history.
  EXPECT_NE(ranked[0], ranked[1]);
  // Read anew after a restart, the history is what it was, the event of tomorrow still to come.
  const int64_t now_ms = UnixMs();
  const auto rank_at = [&](int64_t offset_ms) {
    faults().clock_offset_ms = offset_ms;
    const v1::RankResponse response = Rank(now_ms + offset_ms);
    EXPECT_EQ(response.sequence(), key);
    return response.scores(0).probability(0);
  };
  const float today = rank_at(0), tomorrow = rank_at(kDayMs);
  EXPECT_NE(today, tomorrow);
  Restart();
  constexpr float kTolerance = 1e-5f;  // of keys appended one by one against all at once
  EXPECT_NEAR(rank_at(0), today, kTolerance);
  EXPECT_NEAR(rank_at(kDayMs), tomorrow, kTolerance);
  // A client whose clock is right, while the server's is a day slow.
  faults().clock_offset_ms = -kDayMs;
  v1::ObserveRequest ahead = EventOf(++key);
  ahead.mutable_events(0)->set_known_time_ms(now_ms);
  const Status refused = connection_->Observe(ahead, kTimeout_s).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("known_time_ms"));
}

}  // namespace
}  // namespace grab
