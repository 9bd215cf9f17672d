// Damage and sudden death: a wrong byte anywhere in a checkpoint is noticed, and a writer killed at
// any instant leaves the newest committed checkpoint usable.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "checkpoint/checkpoint.h"
#include "support/checkpoint_files.h"

namespace grab {
namespace {

TEST(CheckpointFault, EveryWrongByteIsNoticed) {
  const std::string dir = TestPath("wrong_byte");
  ASSERT_TRUE(RemoveAll(dir).ok());
  {
    auto writer = CheckpointWriter::Begin(dir, 7);
    ASSERT_TRUE(writer.ok());
    WritePlainFile((*writer)->Path("weights"), "some weights");
    ASSERT_TRUE((*writer)->Commit("{\"lr\":0.25}").ok());
  }
  const std::string path = JoinPath(dir, "step-000000000007");
  const auto before = OpenCheckpoint(path);
  ASSERT_TRUE(before.ok());
  for (const std::string name : {"weights", "manifest.json"}) {
    const std::string file = JoinPath(path, name);
    const std::string content = ReadFile(file, 1 << 20).value();
    // A link to memory: the disk would take most of the test's time.
    MemoryFile memory;
    ASSERT_TRUE(RemoveAll(file).ok());
    ASSERT_EQ(symlink(memory.path().c_str(), file.c_str()), 0);
    for (size_t at = 0; at < content.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        SCOPED_TRACE(::testing::Message() << name << " byte " << at << " bit " << bit);
        std::string damaged = content;
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
        memory.Set(damaged);
        const auto opened = OpenCheckpoint(path);
        if (!opened.ok()) {
          EXPECT_TRUE(absl::IsDataLoss(opened.status()) ||
                      absl::IsFailedPrecondition(opened.status()))
              << opened.status();
          continue;
        }
        // Only white space between tokens or a JSON escape of the same content may differ.
        EXPECT_EQ(name, "manifest.json");
        EXPECT_EQ(opened->step, before->step);
        EXPECT_EQ(opened->state_json, before->state_json);
        ASSERT_EQ(opened->files.size(), 1u);
        EXPECT_EQ(opened->files[0].name, "weights");
        EXPECT_EQ(opened->files[0].checksum, before->files[0].checksum);
      }
    }
    for (size_t length = 0; length < content.size(); ++length) {
      memory.Set(content.substr(0, length));
      const auto opened = OpenCheckpoint(path);
      // The manifest ends in a newline that carries nothing.
      EXPECT_EQ(opened.ok(), name == "manifest.json" && length + 1 == content.size()) << length;
    }
    ASSERT_TRUE(RemoveAll(file).ok());
    WritePlainFile(file, content);
  }
  EXPECT_TRUE(OpenCheckpoint(path).ok());
}

// Content of file `index` of `step`: any mix of two steps or a torn file shows.
std::string FileContent(uint64_t step, uint64_t index) {
  Rng rng(step, index);
  std::string content;
  for (uint64_t words = 2000 + rng.Below(20000); words > 0; --words) {
    const uint64_t word = rng.Next();
    content.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  return content;
}

void WriteStep(const std::string& dir, uint64_t step) {
  auto writer = CheckpointWriter::Begin(dir, step);
  GRAB_CHECK_MSG(writer.ok(), writer.status().ToString());
  for (uint64_t index = 0; index < 3; ++index) {
    auto file = SequentialFile::Create((*writer)->Path(absl::StrCat("file", index)));
    GRAB_CHECK(file.ok());
    const std::string content = FileContent(step, index);
    for (size_t at = 0; at < content.size(); at += 10000) {
      GRAB_CHECK((*file)->Append(absl::string_view(content).substr(at, 10000)).ok());
    }
    GRAB_CHECK((*file)->Close().ok());
  }
  const Status committed = (*writer)->Commit(absl::StrCat("{\"step\":", step, "}"));
  GRAB_CHECK_MSG(committed.ok(), committed.ToString());
}

// The child: commits steps first, first + 1, ... for ever and reports each through `pipe_fd` once
// committed.
[[noreturn]] void WriteForEver(const std::string& dir, uint64_t first, int pipe_fd) {
  for (uint64_t step = first;; ++step) {
    WriteStep(dir, step);
    GRAB_CHECK(write(pipe_fd, &step, sizeof(step)) == sizeof(step));
    GRAB_CHECK(PruneCheckpoints(dir, 2).ok());
  }
}

// Runs a writer from step `first` for `run_us`, kills it, and returns the last step it said was
// committed.
uint64_t RunAndKill(const std::string& dir, uint64_t first, uint64_t run_us) {
  int ends[2];
  GRAB_CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  GRAB_CHECK(child >= 0);
  if (child == 0) WriteForEver(dir, first, ends[1]);
  close(ends[1]);
  usleep(static_cast<useconds_t>(run_us));
  kill(child, SIGKILL);
  int status = 0;
  GRAB_CHECK(waitpid(child, &status, 0) == child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the writer failed by itself";
  uint64_t last = 0;
  for (uint64_t step; read(ends[0], &step, sizeof(step)) == sizeof(step);) last = step;
  close(ends[0]);
  return last;
}

// Kills at random instants of up to three commits' time, which is measured: they fall into writing,
// syncing, the manifest, the rename and pruning. At least 40, and until 10 checkpoints were
// committed and 10 kills left an unfinished one. This shows what a killed process leaves; power
// loss is met by the syncs before the rename, which no test in a process shows.
TEST(CheckpointFault, KilledWritersLeaveTheNewestCommitted) {
  const std::string dir = TestPath("killed");
  ASSERT_TRUE(RemoveAll(dir).ok());
  const Stopwatch watch;
  WriteStep(dir, 1);
  const auto commit_us = static_cast<uint64_t>(watch.Seconds() * 1e6) + 1;
  const uint64_t seed = 20;
  Rng rng(seed);
  uint64_t newest = 1;
  int leftovers = 0;
  for (int round = 0; round < 40 || newest < 10 || leftovers < 10; ++round) {
    ASSERT_LT(round, 400) << newest << " committed, " << leftovers << " kills left something";
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " round " << round);
    const uint64_t said = RunAndKill(dir, newest + 1, rng.Below(3 * commit_us));
    const auto latest = LatestCheckpoint(dir);
    ASSERT_TRUE(latest.ok()) << latest.status();
    EXPECT_TRUE(latest->skipped.empty()) << latest->skipped[0].reason;
    ASSERT_TRUE(latest->checkpoint.has_value());
    for (const std::string& name : ListDirectory(dir).value_or(std::vector<std::string>())) {
      leftovers += name.ends_with(".tmp");
    }
    const Checkpoint& checkpoint = *latest->checkpoint;
    // Nothing committed is lost; at most the step whose report the kill cut off is newer.
    EXPECT_GE(checkpoint.step, std::max(newest, said));
    EXPECT_LE(checkpoint.step, std::max(newest, said) + 1);
    EXPECT_EQ(checkpoint.state_json, absl::StrCat("{\"step\":", checkpoint.step, "}"));
    ASSERT_EQ(checkpoint.files.size(), 3u);
    for (uint64_t index = 0; index < 3; ++index) {
      EXPECT_TRUE(ReadFile(checkpoint.Path(absl::StrCat("file", index)).value(), 1 << 20).value() ==
                  FileContent(checkpoint.step, index));
    }
    newest = checkpoint.step;
  }
}

}  // namespace
}  // namespace grab
