#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/process.h"
#include "cli/text_table.h"

namespace grab {
namespace {

using testing::HasSubstr;

TEST(RunProcess, GivesTheExitCode) {
  EXPECT_EQ(RunProcess({"true"}).value(), 0);
  EXPECT_EQ(RunProcess({"sh", "-c", "exit 3"}).value(), 3);
}

// Arguments arrive as they are, whatever a shell would make of them.
TEST(RunProcess, PassesArgumentsUnchanged) {
  EXPECT_EQ(RunProcess({"test", "a 'b' \"c\" $d *", "=", "a 'b' \"c\" $d *"}).value(), 0);
}

TEST(FindBinary, LooksBesideTheRunningBinaryThenInPath) {
  const std::string self = ExecutablePath().value();
  EXPECT_EQ(FindBinary(self.substr(self.rfind('/') + 1), "X").value(), self);
  EXPECT_THAT(FindBinary("sh", "X").value(), testing::EndsWith("/sh"));
  const StatusOr<std::string> missing = FindBinary("no-such-binary", "GRAB_BUILD_X");
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()),
              testing::AllOf(HasSubstr("no-such-binary"), HasSubstr("GRAB_BUILD_X=ON")));
}

TEST(RunProcess, SignalsAndMissingBinariesAreErrors) {
  const StatusOr<int> killed = RunProcess({"sh", "-c", "kill -9 $$"});
  EXPECT_THAT(std::string(killed.status().message()), HasSubstr("signal 9"));
  const StatusOr<int> missing = RunProcess({"/no/such/binary"});
  EXPECT_FALSE(missing.ok());
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("/no/such/binary"));
}

TEST(ReadProcess, KeepsStandardOutputOnly) {
  EXPECT_EQ(ReadProcess({"sh", "-c", "echo one; echo two >&2; echo three"}).value(),
            "one\nthree\n");
}

// More output than is kept must neither block the command nor pass as the whole of it.
TEST(ReadProcess, RefusesFailureAndTooMuch) {
  EXPECT_FALSE(ReadProcess({"sh", "-c", "echo one; exit 1"}).ok());
  EXPECT_FALSE(ReadProcess({"/no/such/binary"}).ok());
  EXPECT_FALSE(ReadProcess({"head", "-c", "1000000", "/dev/zero"}).ok());
  EXPECT_EQ(ReadProcess({"head", "-c", "65536", "/dev/zero"}).value().size(), 65536u);
}

TEST(ExecutablePath, IsThisTest) {
  EXPECT_EQ(std::filesystem::path(ExecutablePath().value()).filename(), "unit_cli_process_test");
}

TEST(TextTable, AlignsColumns) {
  EXPECT_EQ(TextTable({{"model", "AUC", "n"}, {"a", "0.75000", "12"}, {"long name", "-"}}),
            "model          AUC   n\n"
            "a          0.75000  12\n"
            "long name        -\n");
  EXPECT_EQ(TextTable({{"é", "x"}, {"aa", "yy"}}), "é    x\naa  yy\n");
  EXPECT_EQ(TextTable({}), "");
}

}  // namespace
}  // namespace grab
