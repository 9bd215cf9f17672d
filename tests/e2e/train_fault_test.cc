// What befalls a run that is left alone for months: a disk that fills up at any of its files, a
// torn checkpoint, a shard that is gone, a gradient that is not finite. Each ends the run with a
// message that names the file or the batch, and leaves everything that was there: the run that goes
// on afterwards ends as one that nothing befell.
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/follow_runs.h"

namespace grab {
namespace {

// While it lives no file may grow beyond `bytes`: every further write fails, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &kept_), 0);
    const rlimit limit = {bytes, kept_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &kept_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit kept_;
};

class FaultTest : public FollowTest {
 protected:
  static constexpr int64_t kPasses = 4;

  static void SetUpTestSuite() {
    FollowTest::SetUpTestSuite();
    ASSERT_TRUE(Run("begun", false, 2).ok());
    std::filesystem::copy(dir_->File("begun"), dir_->File("whole"),
                          std::filesystem::copy_options::recursive);
    ASSERT_TRUE(Run("whole", true, kPasses - 2).ok());
  }
  // A run that stands after two passes.
  static void Begin(const std::string& name) {
    std::filesystem::remove_all(dir_->File(name));
    std::filesystem::copy(dir_->File("begun"), dir_->File(name),
                          std::filesystem::copy_options::recursive);
  }
  static void ExpectGoesOn(const std::string& name, int64_t passes) {
    const Status status = Run(name, true, passes);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameRuns(name, "whole");
    std::istringstream log(Text(name + "/log.jsonl"));
    for (std::string line; std::getline(log, line);) {
      EXPECT_TRUE(nlohmann::json::accept(line)) << "a torn line: " << line;
    }
  }
};

// Limits from one that stops the log to one that only the largest file meets.
TEST_F(FaultTest, AFullDisk) {
  rlim_t largest = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_->File("whole"))) {
    if (entry.is_regular_file()) largest = std::max<rlim_t>(largest, entry.file_size());
  }
  const rlim_t log = std::filesystem::file_size(dir_->File("begun/log.jsonl"));
  ASSERT_GT(largest, 4 * log);
  for (const rlim_t bytes : {rlim_t{100}, log + 20, 2 * log, largest / 2, largest - 1}) {
    SCOPED_TRACE(::testing::Message() << "files of at most " << bytes << " bytes");
    Begin("full");
    Status status;
    {
      const FileSizeLimit limit(bytes);
      status = Run("full", true, kPasses - 2);
    }
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.message().find("full/"), absl::string_view::npos) << status;
    EXPECT_NE(status.message().find("File too large"), absl::string_view::npos) << status;
    const auto latest = LatestCheckpoint(dir_->File("full/checkpoints"));
    ASSERT_TRUE(latest.ok() && latest->checkpoint.has_value());
    EXPECT_TRUE(latest->skipped.empty());
    // It may have failed in the third pass or after it.
    const std::string state = latest->checkpoint->state_json;
    const int64_t pass = nlohmann::json::parse(state)["pass"].get<int64_t>();
    ExpectGoesOn("full", kPasses - pass);
  }
}

TEST_F(FaultTest, ATornCheckpoint) {
  // The very last one, and one with passes to come.
  std::filesystem::copy(dir_->File("whole"), dir_->File("torn-last"),
                        std::filesystem::copy_options::recursive);
  const auto last = LatestCheckpoint(dir_->File("torn-last/checkpoints"));
  ASSERT_TRUE(last.ok() && last->checkpoint.has_value());
  std::filesystem::resize_file(last->checkpoint->dir + "/weights.safetensors", 100);
  ExpectGoesOn("torn-last", 1);
  Begin("torn");
  const auto latest = LatestCheckpoint(dir_->File("torn/checkpoints"));
  ASSERT_TRUE(latest.ok() && latest->checkpoint.has_value());
  const std::string tables = latest->checkpoint->dir + "/tables.safetensors";
  std::filesystem::resize_file(tables, std::filesystem::file_size(tables) / 2);
  // The pass before is the newest that is whole.
  ExpectGoesOn("torn", kPasses - 1);
  EXPECT_NE(Text("torn/log.jsonl").find("damaged_checkpoint"), std::string::npos);
  EXPECT_NE(Text("torn/log.jsonl").find("tables.safetensors"), std::string::npos);
  EXPECT_NE(Text("torn/log.jsonl").find("release_removed"), std::string::npos);
}

TEST_F(FaultTest, AShardThatIsGone) {
  Begin("gone");
  // Killed in the middle of a pass: its shards are there, and wanted again.
  Config broken = *config_;
  broken.grab.train.checkpoint_steps = 1;
  broken.tasks[0].weight = 1e300;
  ASSERT_FALSE(Run("gone", true, 1, broken).ok());
  std::string shard;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_->File("gone"))) {
    if (entry.path().extension() == ".grab") shard = entry.path().string();
  }
  ASSERT_FALSE(shard.empty());
  std::filesystem::rename(shard, shard + ".away");
  const Status status = Run("gone", true, kPasses - 2);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_NE(status.message().find(shard), absl::string_view::npos) << status;
  std::filesystem::rename(shard + ".away", shard);
  ExpectGoesOn("gone", kPasses - 2);
}

TEST_F(FaultTest, AGradientThatIsNotFinite) {
  Begin("diverges");
  const auto before = LatestCheckpoint(dir_->File("diverges/checkpoints"));
  Config broken = *config_;
  broken.tasks[0].weight = 1e300;  // the f32 loss overflows
  const Status status = Run("diverges", true, kPasses - 2, broken);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_NE(status.message().find("batch"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("Nothing was updated"), absl::string_view::npos) << status;
  const auto after = LatestCheckpoint(dir_->File("diverges/checkpoints"));
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(before->checkpoint->step, after->checkpoint->step);
  ExpectGoesOn("diverges", kPasses - 2);
}

}  // namespace
}  // namespace grab
