// kill -9 at random instants of a training run, then --resume, as often as it takes: the last
// checkpoint equals that of an uninterrupted run bit for bit, with two workers. Instants are drawn
// with a printed seed over the run's whole length; a checkpoint every third step puts some of them
// inside a checkpoint.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"
#include "checkpoint/checkpoint.h"
#include "support/cli_process.h"

namespace grab {
namespace {

constexpr uint64_t kSeed = 11;
constexpr int kKills = 12;

std::vector<std::string> TrainArguments(const std::string& root, const std::string& out,
                                        bool resume) {
  std::vector<std::string> arguments = {GRAB_BINARY, "train",
                                        "--config",  root + "/config.toml",
                                        "--model",   "grab",
                                        "--shards",  root + "/shards",
                                        "--out",     out,
                                        "--set",     "grab.train.batch_tokens=300",
                                        "--set",     "grab.train.checkpoint_steps=3",
                                        "--set",     "grab.train.threads=2"};
  if (resume) arguments.push_back("--resume");
  return arguments;
}

// Runs the command and kills it after `after_s`; true if it had ended by itself, successfully.
bool RunAndKill(const std::vector<std::string>& arguments, double after_s) {
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    if (freopen("/dev/null", "w", stderr) == nullptr) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  const Stopwatch watch;
  int state = 0;
  while (watch.Seconds() < after_s) {
    if (waitpid(child, &state, WNOHANG) == child)
      return WIFEXITED(state) && WEXITSTATUS(state) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(child, SIGKILL);
  waitpid(child, &state, 0);
  return false;
}

std::vector<std::pair<std::string, uint64_t>> Files(const std::string& run) {
  const auto latest = LatestCheckpoint(run + "/checkpoints");
  std::vector<std::pair<std::string, uint64_t>> files;
  if (!latest.ok() || !latest->checkpoint.has_value()) return files;
  for (const CheckpointFile& file : latest->checkpoint->files)
    files.emplace_back(file.name, file.checksum);
  return files;
}

TEST(TrainKill, ResumedRunEqualsAnUninterruptedOne) {
  const TempDir dir;
  const std::string root = dir.File("world");
  const CommandResult job =
      RunCommand({GRAB_BINARY, "run", "--config", GRAB_SOURCE_DIR "/configs/simulator.toml",
                  "--out", root, "--set", "simulate.users=60"});
  ASSERT_EQ(job.exit_code, 0) << job.err;
  const std::string whole = dir.File("whole");
  const Stopwatch watch;
  ASSERT_EQ(RunCommand(TrainArguments(root, whole, false)).exit_code, 0);
  const double whole_s = watch.Seconds();
  const auto expected = Files(whole);
  ASSERT_FALSE(expected.empty());

  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  Rng rng(kSeed);
  const std::string run = dir.File("killed");
  bool done = false;
  int kills = 0;
  for (; kills < kKills && !done; ++kills) {
    // A kill before the first checkpoint leaves a run that cannot be resumed; it starts again.
    const bool resume = !Files(run).empty();
    if (!resume) {
      ASSERT_TRUE(RemoveAll(run).ok());
    }
    done = RunAndKill(TrainArguments(root, run, resume), whole_s * rng.Uniform());
  }
  if (!done) {
    const CommandResult last = RunCommand(TrainArguments(root, run, !Files(run).empty()));
    ASSERT_EQ(last.exit_code, 0) << last.err;
  }
  EXPECT_GE(kills, 2);
  EXPECT_EQ(Files(run), expected);
}

}  // namespace
}  // namespace grab
