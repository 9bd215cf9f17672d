// Checkpoint folders: what is committed is found again, what is not leaves nothing, and pruning
// keeps the newest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "support/checkpoint_files.h"

namespace grab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string FreshDir(const std::string& name) {
  const std::string dir = TestPath(name);
  EXPECT_TRUE(RemoveAll(dir).ok());
  return dir;
}

void CommitStep(const std::string& dir, uint64_t step) {
  auto writer = CheckpointWriter::Begin(dir, step);
  ASSERT_TRUE(writer.ok()) << writer.status();
  WritePlainFile((*writer)->Path("weights.safetensors"), absl::StrCat("weights of ", step));
  const Status status = (*writer)->Commit(absl::StrCat("{\"step\":", step, "}"));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Exists((*writer)->dir()));
}

std::string Nested(int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += "{\"a\":";
  return text + "1" + std::string(static_cast<size_t>(depth), '}');
}

TEST(Checkpoint, CommittedIsFoundWithFilesAndState) {
  const std::string dir = FreshDir("committed");
  {
    auto writer = CheckpointWriter::Begin(dir, 1000);
    ASSERT_TRUE(writer.ok()) << writer.status();
    WritePlainFile((*writer)->Path("b.bin"), "12345");
    WritePlainFile((*writer)->Path("a.bin"), "");
    EXPECT_THAT(ListDirectory(dir).value(), ElementsAre("step-000000001000.tmp"));
    ASSERT_TRUE((*writer)->Commit(R"({"lr": 0.1, "rng": 18446744073709551615, "who": "é"})").ok());
  }
  EXPECT_THAT(ListDirectory(dir).value(), ElementsAre("step-000000001000"));
  const auto latest = LatestCheckpoint(dir);
  ASSERT_TRUE(latest.ok());
  EXPECT_THAT(latest->skipped, IsEmpty());
  ASSERT_TRUE(latest->checkpoint.has_value());
  const Checkpoint& checkpoint = *latest->checkpoint;
  EXPECT_EQ(checkpoint.step, 1000u);
  EXPECT_EQ(checkpoint.dir, JoinPath(dir, "step-000000001000"));
  // Numbers survive to the last digit.
  EXPECT_EQ(checkpoint.state_json, R"({"lr":0.1,"rng":18446744073709551615,"who":"é"})");
  ASSERT_EQ(checkpoint.files.size(), 2u);
  EXPECT_EQ(checkpoint.files[0].name, "a.bin");
  EXPECT_EQ(checkpoint.files[0].size_bytes, 0u);
  EXPECT_EQ(checkpoint.files[1].size_bytes, 5u);
  // XXH3-64 of no bytes, from the algorithm's own test vectors.
  EXPECT_EQ(checkpoint.files[0].checksum, 0x2d06800538d394c2u);
  EXPECT_EQ(ReadFile(checkpoint.Path("b.bin").value(), 100).value(), "12345");
  EXPECT_THAT(std::string(checkpoint.Path("c.bin").status().message()), HasSubstr("a.bin, b.bin"));
}

// Around the size of the reading chunk (1 MiB), where a streamed checksum could go wrong.
TEST(Checkpoint, FilesLongerThanAChunkVerify) {
  const std::string dir = FreshDir("long");
  auto writer = CheckpointWriter::Begin(dir, 1);
  ASSERT_TRUE(writer.ok());
  for (const int64_t extra : {-1, 0, 1, 12345}) {
    WritePlainFile((*writer)->Path(absl::StrCat("f", extra + 1)),
                   std::string((1 << 20) + extra, 'x'));
  }
  ASSERT_TRUE((*writer)->Commit("{}").ok());
  const std::string path = JoinPath(dir, "step-000000000001");
  ASSERT_TRUE(OpenCheckpoint(path).ok());
  std::string content = ReadFile(JoinPath(path, "f12346"), 1 << 22).value();
  content.back() = 'y';
  WritePlainFile(JoinPath(path, "f12346"), content);
  EXPECT_EQ(OpenCheckpoint(path).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(OpenCheckpoint(path, CheckpointCheck::kSizes).ok());
}

TEST(Checkpoint, NoneYetIsNoError) {
  const auto absent = LatestCheckpoint(TestPath("no_such_folder"));
  ASSERT_TRUE(absent.ok());
  EXPECT_FALSE(absent->checkpoint.has_value());
  EXPECT_EQ(OpenCheckpoint(TestPath("no_such_folder")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Checkpoint, UncommittedLeavesNothingAndLeftoversAreCleared) {
  const std::string dir = FreshDir("uncommitted");
  CommitStep(dir, 1);
  {
    auto writer = CheckpointWriter::Begin(dir, 2);
    ASSERT_TRUE(writer.ok());
    WritePlainFile((*writer)->Path("weights"), "half");
  }
  EXPECT_THAT(ListDirectory(dir).value(), ElementsAre("step-000000000001"));
  // As a killed writer leaves it, complete with a manifest.
  ASSERT_TRUE(MakeDirectories(JoinPath(dir, "step-000000000009.tmp")).ok());
  WritePlainFile(JoinPath(dir, "step-000000000009.tmp/manifest.json"),
                 ReadFile(JoinPath(dir, "step-000000000001/manifest.json"), 1 << 20).value());
  EXPECT_EQ(LatestCheckpoint(dir)->checkpoint->step, 1u);
  CommitStep(dir, 2);
  EXPECT_THAT(ListDirectory(dir).value(), ElementsAre("step-000000000001", "step-000000000002"));
}

TEST(Checkpoint, AStepIsWrittenOnceUnlessDamaged) {
  const std::string dir = FreshDir("once");
  CommitStep(dir, 5);
  EXPECT_EQ(CheckpointWriter::Begin(dir, 5).status().code(), absl::StatusCode::kAlreadyExists);
  WritePlainFile(JoinPath(dir, "step-000000000005/weights.safetensors"), "torn");
  CommitStep(dir, 5);
  EXPECT_TRUE(OpenCheckpoint(JoinPath(dir, "step-000000000005")).ok());
}

TEST(Checkpoint, CommitRefusesWrongStatesAndFiles) {
  const std::string dir = FreshDir("refused");
  for (const std::string& state :
       {std::string(""), std::string("{"), std::string("[]"), std::string("{} {}"),
        std::string("{\"a\":\"\xff\"}"), Nested(65), Nested(100000)}) {
    auto writer = CheckpointWriter::Begin(dir, 1);
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ((*writer)->Commit(state).code(), absl::StatusCode::kInvalidArgument)
        << state.substr(0, 50);
  }
  {
    auto writer = CheckpointWriter::Begin(dir, 1);
    ASSERT_TRUE(writer.ok());
    (*writer)->Path("never_written");
    EXPECT_EQ((*writer)->Commit("{}").code(), absl::StatusCode::kInternal);
  }
  {
    auto writer = CheckpointWriter::Begin(dir, 1);
    ASSERT_TRUE(writer.ok());
    WritePlainFile((*writer)->Path("named") + "_other", "x");
    EXPECT_EQ((*writer)->Commit("{}").code(), absl::StatusCode::kInternal);
  }
  EXPECT_THAT(ListDirectory(dir).value(), IsEmpty());
}

TEST(Checkpoint, TheDeepestStateAllowedIsReadBack) {
  const std::string dir = FreshDir("deep");
  auto writer = CheckpointWriter::Begin(dir, 1);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Commit(Nested(64)).ok());
  const auto opened = OpenCheckpoint(JoinPath(dir, "step-000000000001"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->state_json, Nested(64));
}

TEST(Checkpoint, PruneKeepsTheNewestUsable) {
  const std::string dir = FreshDir("prune");
  for (const uint64_t step : {1, 2, 10, 100, 1000}) CommitStep(dir, step);
  WritePlainFile(JoinPath(dir, "notes.txt"), "mine");
  ASSERT_TRUE(RemoveAll(JoinPath(dir, "step-000000000100/weights.safetensors")).ok());
  const auto removed = PruneCheckpoints(dir, 2);
  ASSERT_TRUE(removed.ok());
  EXPECT_THAT(*removed,
              ElementsAre(JoinPath(dir, "step-000000000002"), JoinPath(dir, "step-000000000001")));
  EXPECT_THAT(ListDirectory(dir).value(), ElementsAre("notes.txt", "step-000000000010",
                                                      "step-000000000100", "step-000000001000"));
  EXPECT_THAT(PruneCheckpoints(dir, 2).value(), IsEmpty());
  EXPECT_THAT(PruneCheckpoints(TestPath("no_such_folder"), 1).value(), IsEmpty());
}

TEST(Checkpoint, RemoveAfterTakesLaterStepsDamagedOrNot) {
  const std::string dir = FreshDir("after");
  for (const uint64_t step : {1, 2, 10, 100}) CommitStep(dir, step);
  WritePlainFile(JoinPath(dir, "step-five"), "mine");
  ASSERT_TRUE(RemoveAll(JoinPath(dir, "step-000000000010/weights.safetensors")).ok());
  EXPECT_THAT(RemoveCheckpointsAfter(dir, 100).value(), IsEmpty());
  EXPECT_THAT(RemoveCheckpointsAfter(dir, 2).value(),
              ElementsAre(JoinPath(dir, "step-000000000100"), JoinPath(dir, "step-000000000010")));
  EXPECT_THAT(ListDirectory(dir).value(),
              ElementsAre("step-000000000001", "step-000000000002", "step-five"));
  EXPECT_THAT(RemoveCheckpointsAfter(dir, 0).value().size(), 2u);
}

TEST(Checkpoint, LatestIsByStepAndReportsWhatItSkips) {
  const std::string dir = FreshDir("latest");
  CommitStep(dir, 9);
  CommitStep(dir, 10);
  CommitStep(dir, 999'999'999'999);
  ASSERT_TRUE(RemoveAll(JoinPath(dir, "step-999999999999/manifest.json")).ok());
  WritePlainFile(JoinPath(dir, "step-five"), "");
  WritePlainFile(JoinPath(dir, "step-000000000011"), "a file");
  ASSERT_EQ(std::rename(JoinPath(dir, "step-000000000009").c_str(),
                        JoinPath(dir, "step-000000000012").c_str()),
            0);
  const auto latest = LatestCheckpoint(dir);
  ASSERT_TRUE(latest.ok());
  EXPECT_EQ(latest->checkpoint->step, 10u);
  ASSERT_EQ(latest->skipped.size(), 4u);
  EXPECT_THAT(latest->skipped[0].path, HasSubstr("step-five"));
  EXPECT_THAT(latest->skipped[1].reason.ToString(), HasSubstr("no manifest"));
  EXPECT_THAT(latest->skipped[2].reason.ToString(), HasSubstr("manifest is that of step 9"));
  EXPECT_THAT(latest->skipped[3].path, HasSubstr("step-000000000011"));
}

}  // namespace
}  // namespace grab
