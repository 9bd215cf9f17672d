// What every binary prints and returns at its start and end (src/base/program.h): scripts rely on
// the exit codes, users read the line, so both are checked word for word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/program.h"

namespace grab {
namespace {

using testing::HasSubstr;
using testing::internal::CaptureStderr;
using testing::internal::CaptureStdout;
using testing::internal::GetCapturedStderr;
using testing::internal::GetCapturedStdout;

struct Parsed {
  std::optional<int> code;
  std::string out, err;
  int rows = 0;
};

// Of a program with one required option, --rows.
Parsed Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "x");
  Parsed parsed;
  CLI::App app("Counts rows.", "x");
  app.add_option("--rows", parsed.rows, "How many")->required();
  CaptureStdout();
  CaptureStderr();
  parsed.code =
      ParseCommandLine(app, static_cast<int>(arguments.size()), arguments.data(), "grab-x");
  parsed.out = GetCapturedStdout();
  parsed.err = GetCapturedStderr();
  return parsed;
}

TEST(ParseCommandLineTest, GoesOnWithWhatWasGiven) {
  const Parsed parsed = Parse({"--rows", "7"});
  EXPECT_EQ(parsed.code, std::nullopt);
  EXPECT_EQ(parsed.rows, 7);
  EXPECT_EQ(parsed.out + parsed.err, "");
}

TEST(ParseCommandLineTest, HelpIsNoError) {
  const Parsed parsed = Parse({"--help"});
  EXPECT_EQ(parsed.code, 0);
  EXPECT_THAT(parsed.out, HasSubstr("--rows"));
  EXPECT_EQ(parsed.err, "");
}

TEST(ParseCommandLineTest, AWrongLineIsTheUsers) {
  const Parsed missing = Parse({});
  EXPECT_EQ(missing.code, 2);
  EXPECT_EQ(missing.err, "grab-x: error: --rows is required (--help shows how it goes)\n");
  EXPECT_EQ(missing.out, "");
  EXPECT_EQ(Parse({"--rows", "many"}).code, 2);
  EXPECT_EQ(Parse({"--rows", "7", "--columns"}).code, 2);
}

TEST(ExitCodeTest, SaysWhoseFaultItIs) {
  const std::vector<std::pair<Status, int>> cases = {
      {absl::OkStatus(), 0},
      {absl::InvalidArgumentError("m"), 2},
      {absl::NotFoundError("m"), 2},
      {absl::AlreadyExistsError("m"), 2},
      {absl::DataLossError("m"), 1},
      {absl::UnavailableError("m"), 1},
      {absl::ResourceExhaustedError("m"), 1},
      {absl::InternalError("m"), 1},
  };
  for (const auto& [status, code] : cases) {
    CaptureStderr();
    EXPECT_EQ(ExitCode(status, "grab-x"), code) << status;
    EXPECT_EQ(GetCapturedStderr(), status.ok() ? "" : "grab-x: error: m\n") << status;
  }
}

TEST(ExitCodeTest, AnErrorIsOneLine) {
  CaptureStderr();
  ExitCode(absl::InternalError("LINE 1: FROM log\n             ^"), "grab");
  EXPECT_EQ(GetCapturedStderr(), "grab: error: LINE 1: FROM log              ^\n");
}

}  // namespace
}  // namespace grab
