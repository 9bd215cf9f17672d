// Whole-file reads and writes, bounds of reads at offsets, and what a commit leaves behind.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void Spit(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
  ASSERT_TRUE(out.good()) << path;
}

TEST(WriteFileDurablyTest, WritesReplacesAndLeavesNoTemporary) {
  TempDir dir;
  const std::string path = dir.File("config.toml");
  const std::string binary("a\0\n\xff", 4);
  ASSERT_TRUE(WriteFileDurably(path, binary).ok());
  EXPECT_EQ(Slurp(path), binary);
  ASSERT_TRUE(WriteFileDurably(path, "").ok());
  EXPECT_EQ(Slurp(path), "");
  EXPECT_EQ(*ListDirectory(dir.path()), std::vector<std::string>{"config.toml"});
}

// A torn temporary of a killed run must not stand in the way of the next.
TEST(WriteFileDurablyTest, OverwritesAStaleTemporary) {
  TempDir dir;
  Spit(dir.File("m.json.tmp"), std::string(1000, 'x'));
  ASSERT_TRUE(WriteFileDurably(dir.File("m.json"), "{}").ok());
  EXPECT_EQ(Slurp(dir.File("m.json")), "{}");
  EXPECT_FALSE(Exists(dir.File("m.json.tmp")));
}

TEST(ReadFileTest, BoundIsInclusive) {
  TempDir dir;
  Spit(dir.File("f"), "12345");
  EXPECT_EQ(*ReadFile(dir.File("f"), 5), "12345");
  const Status status = ReadFile(dir.File("f"), 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), dir.File("f") + ": is 5 bytes, at most 4 expected");
}

TEST(RandomAccessFileTest, ReadsInsideAndRefusesOutside) {
  TempDir dir;
  const std::string path = dir.File("f");
  Spit(path, "0123456789");
  auto opened = RandomAccessFile::Open(path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const RandomAccessFile& file = **opened;
  EXPECT_EQ(file.size_bytes(), 10u);
  EXPECT_EQ(file.path(), path);

  for (uint64_t offset = 0; offset <= 10; ++offset) {
    for (uint64_t bytes = 0; offset + bytes <= 10; ++bytes) {
      std::string out(bytes, '?');
      ASSERT_TRUE(file.Read(offset, bytes, out.data()).ok()) << offset << "+" << bytes;
      EXPECT_EQ(out, std::string("0123456789").substr(offset, bytes));
    }
  }
  // One past the end, and sums that wrap around 64 bits. The buffer must stay untouched.
  const uint64_t max = std::numeric_limits<uint64_t>::max();
  const std::vector<std::pair<uint64_t, uint64_t>> outside = {
      {10, 1}, {0, 11}, {11, 0}, {max, 1}, {1, max}, {max, max}, {5, max - 4}};
  for (const auto& [offset, bytes] : outside) {
    std::string out(16, '?');
    const Status status = file.Read(offset, bytes, out.data());
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << offset << "+" << bytes;
    EXPECT_EQ(status.message(), absl::StrCat(path, ": at byte ", offset, ": expected ", bytes,
                                             " bytes, the file has 10"));
    EXPECT_EQ(out, std::string(16, '?'));
  }
}

TEST(SequentialFileTest, CountsBytesAndTruncatesWhatWasThere) {
  TempDir dir;
  Spit(dir.File("f"), std::string(100, 'x'));
  auto file = SequentialFile::Create(dir.File("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append("abc").ok());
  ASSERT_TRUE((*file)->Append("").ok());
  ASSERT_TRUE((*file)->Append("\0\1", 2).ok());
  EXPECT_EQ((*file)->size_bytes(), 5u);
  ASSERT_TRUE((*file)->Close().ok());
  EXPECT_EQ(Slurp(dir.File("f")), std::string("abc\0\1", 5));
}

TEST(RenameDurablyTest, ReplacesTheTarget) {
  TempDir dir;
  Spit(dir.File("from"), "new");
  Spit(dir.File("to"), "old");
  ASSERT_TRUE(RenameDurably(dir.File("from"), dir.File("to")).ok());
  EXPECT_EQ(Slurp(dir.File("to")), "new");
  EXPECT_FALSE(Exists(dir.File("from")));
}

TEST(CommitDirectoryTest, MovesTheWholeTree) {
  TempDir dir;
  const std::string tmp = dir.File("step.tmp");
  ASSERT_TRUE(MakeDirectories(tmp + "/tables/dense").ok());
  Spit(tmp + "/manifest.json", "{}");
  Spit(tmp + "/tables/dense/w", "1");
  ASSERT_TRUE(CommitDirectory(tmp, dir.File("step")).ok());
  EXPECT_FALSE(Exists(tmp));
  EXPECT_EQ(Slurp(dir.File("step") + "/manifest.json"), "{}");
  EXPECT_EQ(Slurp(dir.File("step") + "/tables/dense/w"), "1");
}

// What was committed is never replaced, not even by an equal or empty tree; the new one stays where
// it was written.
TEST(CommitDirectoryTest, RefusesAnExistingName) {
  TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir.File("step")).ok());
  Spit(dir.File("step") + "/old", "old");
  ASSERT_TRUE(MakeDirectories(dir.File("step.tmp")).ok());
  const Status status = CommitDirectory(dir.File("step.tmp"), dir.File("step"));
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(), dir.File("step") + ": already exists");
  EXPECT_EQ(Slurp(dir.File("step") + "/old"), "old");
  EXPECT_TRUE(Exists(dir.File("step.tmp")));
}

TEST(DirectoriesTest, ListIsSortedAndRemoveTakesTheTree) {
  TempDir dir;
  for (const char* name : {"b", "a", "c10", "c9"}) Spit(dir.File(name), "");
  ASSERT_TRUE(MakeDirectories(dir.File("d/e/f")).ok());
  ASSERT_TRUE(MakeDirectories(dir.File("d/e/f")).ok());  // already there is fine
  EXPECT_EQ(*ListDirectory(dir.path()), (std::vector<std::string>{"a", "b", "c10", "c9", "d"}));
  ASSERT_TRUE(RemoveAll(dir.File("d")).ok());
  EXPECT_FALSE(Exists(dir.File("d")));
  EXPECT_TRUE(RemoveAll(dir.File("never was")).ok());
}

TEST(JoinPathTest, OneSeparator) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

}  // namespace
}  // namespace grab
