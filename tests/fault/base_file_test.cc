// Disks that are full, files that are missing, of the wrong kind, or shrink while read: each is a
// Status that names the file, and what was there before is still there.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

// /dev/full accepts opens and fails every write with ENOSPC. Small writes stay in stdio's buffer,
// so their failure may come with Close; writes past the buffer fail at once. Neither may be lost.
TEST(FullDiskTest, SmallWriteFailsAtCloseTheLatest) {
  if (!Exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  auto file = SequentialFile::Create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  Status status = (*file)->Append("x");
  if (status.ok()) status = (*file)->Close();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(status.message(), "/dev/full: cannot write: No space left on device");
}

TEST(FullDiskTest, LargeWriteFailsAtAppend) {
  if (!Exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  auto file = SequentialFile::Create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const Status status = (*file)->Append(std::string(1 << 20, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

// A later Append or Close that succeeds would leave a file with a hole under a good name.
TEST(FullDiskTest, AFailedAppendStaysFailed) {
  if (!Exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  auto file = SequentialFile::Create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const Status first = (*file)->Append(std::string(1 << 20, 'x'));
  ASSERT_FALSE(first.ok());
  EXPECT_EQ((*file)->Append(""), first);
  EXPECT_EQ((*file)->Append("x"), first);
  EXPECT_EQ((*file)->size_bytes(), 0u);
  EXPECT_EQ((*file)->Close(), first);
}

// A folder inside the tree that cannot be opened: its error is returned, nothing is renamed, and
// nothing is thrown. Root reads any folder, so the test gives way there.
TEST(CommitDirectoryFaultTest, AnUnreadableFolderIsReported) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read every folder";
  TempDir dir;
  const std::string tmp = dir.File("step.tmp");
  ASSERT_TRUE(MakeDirectories(tmp + "/inner").ok());
  ASSERT_EQ(::chmod((tmp + "/inner").c_str(), 0), 0);
  const Status status = CommitDirectory(tmp, dir.File("step"));
  ::chmod((tmp + "/inner").c_str(), 0700);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_NE(std::string(status.message()).find(tmp + "/inner"), std::string::npos) << status;
  EXPECT_FALSE(Exists(dir.File("step")));
}

TEST(RenameDurablyFaultTest, NamesTheTarget) {
  TempDir dir;
  const Status status = RenameDurably(dir.File("none"), dir.File("to"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(),
            dir.File("to") + ": cannot rename into place: No such file or directory");
}

// The child process may write at most 4 KiB to a file, so the new content of 64 KiB cannot be
// written. Exit codes tell the parent what the child saw.
TEST(WriteFileDurablyFaultTest, AFailedWriteLeavesThePreviousContent) {
  TempDir dir;
  const std::string path = dir.File("manifest.json");
  ASSERT_TRUE(WriteFileDurably(path, "previous").ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(3);
    const Status status = WriteFileDurably(path, std::string(65536, 'x'));
    ::_exit(status.ok() ? 1 : 0);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  ASSERT_TRUE(WIFEXITED(state));
  EXPECT_EQ(WEXITSTATUS(state), 0) << "1: the write was reported as done; 3: no limit could be set";
  EXPECT_EQ(*ReadFile(path, 100), "previous");
}

TEST(MissingFileTest, IsNotFoundAndNamed) {
  TempDir dir;
  const std::string path = dir.File("none");
  for (const Status& status :
       {RandomAccessFile::Open(path).status(), ReadFile(path, 10).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), path + ": cannot open: No such file or directory");
  }
  EXPECT_EQ(ListDirectory(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SequentialFile::Create(path + "/x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(WriteFileDurably(path + "/x", "y").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CommitDirectory(path, dir.File("to")).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(Exists(dir.File("to")));
}

TEST(WrongKindTest, AFolderIsNotAFile) {
  TempDir dir;
  const Status status = RandomAccessFile::Open(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), dir.path() + ": expected a regular file, got a folder");
  EXPECT_FALSE(WriteFileDurably(dir.path(), "x").ok());
}

// Opening a FIFO that nobody writes to waits for ever unless told not to; the test would time out.
TEST(WrongKindTest, AFifoOrDeviceIsNotAFileAndDoesNotBlock) {
  TempDir dir;
  const std::string path = dir.File("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(RandomAccessFile::Open(path).status().message(),
            path + ": expected a regular file, got a FIFO");
  EXPECT_EQ(ReadFile("/dev/null", 10).status().message(),
            "/dev/null: expected a regular file, got a device");
}

TEST(WrongKindTest, AFileIsNotAFolder) {
  TempDir dir;
  const std::string path = dir.File("f");
  ASSERT_TRUE(WriteFileDurably(path, "x").ok());
  EXPECT_FALSE(MakeDirectories(path + "/sub").ok());
  EXPECT_FALSE(ListDirectory(path).ok());
}

// The size is read when the file is opened; a file that lost its tail since then must not yield
// stale or zero bytes as if they were data.
TEST(ShrinkingFileTest, IsDataLoss) {
  TempDir dir;
  const std::string path = dir.File("f");
  ASSERT_TRUE(WriteFileDurably(path, "0123456789").ok());
  auto file = RandomAccessFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  std::filesystem::resize_file(path, 4);
  char out[10];
  const Status status = (*file)->Read(2, 6, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), path + ": at byte 4: the file became shorter while read");
}

}  // namespace
}  // namespace grab
