// The messages of src/base/status.h are what users and other tests read, so they are checked word
// for word.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/status.h"

namespace grab {
namespace {

TEST(StatusTest, CorruptFileNamesFileOffsetAndDetail) {
  const Status status = CorruptFile("a/b.shard", 17, "expected magic GRAB");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "a/b.shard: at byte 17: expected magic GRAB");
  // Beyond 32 bits: offsets of large files must not wrap.
  EXPECT_EQ(CorruptFile("f", uint64_t{1} << 40, "x").message(), "f: at byte 1099511627776: x");
}

TEST(StatusTest, FileErrorMapsTheSystemsReason) {
  const Status missing = FileError("x.toml", "open", ENOENT);
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.message(), "x.toml: cannot open: No such file or directory");
  EXPECT_EQ(FileError("x", "write", ENOSPC).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileError("x", "write", EDQUOT).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileError("x", "open", EACCES).code(), absl::StatusCode::kUnavailable);
}

TEST(StatusTest, AnnotateKeepsTheCodeAndPassesOk) {
  const Status status = Annotate(absl::InvalidArgumentError("bad dim"), "field video_id");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "field video_id: bad dim");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "anything").ok());
}

StatusOr<std::unique_ptr<int>> Halve(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}

// Two assignments in one function, of a move-only type: the macro's holders must neither collide
// nor copy.
StatusOr<int> Quarter(int value) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Halve(value));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Halve(*half));
  return *quarter;
}

TEST(StatusTest, MacrosReturnTheFirstError) {
  ASSERT_TRUE(Quarter(12).ok());
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_EQ(Quarter(7).status().message(), "odd");

  int evaluated = 0;
  const auto run = [&](Status status) -> Status {
    GRAB_RETURN_IF_ERROR((++evaluated, status));
    return absl::UnknownError("went on");
  };
  EXPECT_EQ(run(absl::AbortedError("stop")).message(), "stop");
  EXPECT_EQ(run(absl::OkStatus()).message(), "went on");
  EXPECT_EQ(evaluated, 2);
}

TEST(CheckDeathTest, AbortsWithPlaceConditionAndDetail) {
  EXPECT_DEATH(GRAB_CHECK(1 + 1 == 3), "base_status_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3");
  EXPECT_DEATH(GRAB_CHECK_MSG(false, absl::StrCat("n=", 5)), "check failed: false: n=5");
}

TEST(CheckTest, DetailIsEvaluatedOnlyOnFailure) {
  int evaluated = 0;
  GRAB_CHECK_MSG(true, absl::StrCat(++evaluated));
  EXPECT_EQ(evaluated, 0);
}

}  // namespace
}  // namespace grab
