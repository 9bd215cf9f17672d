// The short forms of counts and durations, at and around every change of unit.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/progress.h"

namespace grab {
namespace {

TEST(HumanCountTest, EachUnit) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(789), "789");
  EXPECT_EQ(HumanCount(9999), "9999");
  EXPECT_EQ(HumanCount(10000), "10.0 k");
  EXPECT_EQ(HumanCount(45600), "45.6 k");
  EXPECT_EQ(HumanCount(1e6), "1.00 M");
  EXPECT_EQ(HumanCount(1.23e6), "1.23 M");
  EXPECT_EQ(HumanCount(1e9), "1.00 G");
  // What rounds up to the next unit is written in it.
  EXPECT_EQ(HumanCount(9999.4), "9999");
  EXPECT_EQ(HumanCount(9999.6), "10.0 k");
  EXPECT_EQ(HumanCount(999940), "999.9 k");
  EXPECT_EQ(HumanCount(999999), "1.00 M");
  EXPECT_EQ(HumanCount(999.99e6), "999.99 M");
  EXPECT_EQ(HumanCount(999.999e6), "1.00 G");
  EXPECT_EQ(HumanCount(2.5e12), "2500.00 G");
}

TEST(HumanSecondsTest, EachUnit) {
  EXPECT_EQ(HumanSeconds(0), "0.0s");
  EXPECT_EQ(HumanSeconds(12.34), "12.3s");
  EXPECT_EQ(HumanSeconds(60), "1m00s");
  EXPECT_EQ(HumanSeconds(59.94), "59.9s");
  EXPECT_EQ(HumanSeconds(59.97), "1m00s");
  EXPECT_EQ(HumanSeconds(185.4), "3m05s");
  EXPECT_EQ(HumanSeconds(185.9), "3m06s");
  EXPECT_EQ(HumanSeconds(3599.4), "59m59s");
  EXPECT_EQ(HumanSeconds(3599.9), "1h00m");
  EXPECT_EQ(HumanSeconds(3600), "1h00m");
  EXPECT_EQ(HumanSeconds(3720), "1h02m");
  EXPECT_EQ(HumanSeconds(90000), "25h00m");
}

// Tests do not run on a terminal, so this is the plain form: one line at the start and one at the
// end, whatever the number of updates within ten seconds, with no control characters.
TEST(ConsoleProgressTest, PlainLinesOffATerminal) {
  testing::internal::CaptureStderr();
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  progress->Begin("sort", "rows", 100000);
  for (uint64_t done = 0; done <= 100000; done += 10) progress->Update(done, "note");
  progress->End("2 files");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_EQ(text.rfind("sort ...\nsort: 100.0 k rows in ", 0), 0u) << text;
  EXPECT_NE(text.find("/s), 2 files\n"), std::string::npos) << text;
}

TEST(NoProgressTest, IsSilent) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  NoProgress().Begin("a", "b", 1);
  NoProgress().Update(1, "c");
  NoProgress().End("d");
  EXPECT_EQ(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace grab
