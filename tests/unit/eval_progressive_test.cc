// The record of progressive evaluation: lines round-trip, a pass done again replaces its line,
// damage is refused with its place, and the charts hold the metrics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "eval/progressive.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kDayMs = 86400000;
constexpr int64_t kStartMs = 1704240000000;  // 2024-01-03T00:00Z

PassMetrics Pass(int64_t day, double auc) {
  PassMetrics metrics;
  metrics.pass = {kStartMs + day * kDayMs, kStartMs + (day + 1) * kDayMs};
  metrics.rows = 100 + static_cast<uint64_t>(day);
  metrics.tasks = {
      {"click", 90, 20, auc, 0.1 + 0.2, 0.9, 1.0 / 3, 0.7, "page"},
      {"convert", 10, 0, std::nullopt, 0.25, std::nullopt, std::nullopt, std::nullopt, "user"}};
  return metrics;
}

class ProgressiveTest : public testing::Test {
 protected:
  std::string Text() {
    const auto text = ReadFile(path_, 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  TempDir dir_;
  std::string path_ = dir_.File("progressive.jsonl");
};

TEST_F(ProgressiveTest, LinesComeBackBitForBit) {
  EXPECT_TRUE(ReadPasses(path_)->empty());
  for (int64_t day = 0; day < 3; ++day) {
    ASSERT_TRUE(RecordPass(path_, Pass(day, 0.6 + 0.01 * static_cast<double>(day))).ok());
  }
  const auto passes = ReadPasses(path_);
  ASSERT_TRUE(passes.ok()) << passes.status();
  ASSERT_EQ(passes->size(), 3u);
  for (int64_t day = 0; day < 3; ++day) {
    const PassMetrics expected = Pass(day, 0.6 + 0.01 * static_cast<double>(day));
    const PassMetrics& got = (*passes)[static_cast<size_t>(day)];
    EXPECT_EQ(got.pass, expected.pass);
    EXPECT_EQ(got.rows, expected.rows);
    ASSERT_EQ(got.tasks.size(), 2u);
    for (size_t t = 0; t < 2; ++t) {
      const PassTask& a = got.tasks[t];
      const PassTask& b = expected.tasks[t];
      EXPECT_EQ(std::tie(a.task, a.rows, a.positives, a.gauc_by),
                std::tie(b.task, b.rows, b.positives, b.gauc_by));
      EXPECT_EQ(std::tie(a.auc, a.logloss, a.ne, a.pcoc, a.gauc),
                std::tie(b.auc, b.logloss, b.ne, b.pcoc, b.gauc));
    }
  }
}

// Killed after any pass and begun again at any earlier one, the file ends as in one run.
TEST_F(ProgressiveTest, APassDoneAgainReplacesItsLine) {
  for (int64_t day = 0; day < 4; ++day) ASSERT_TRUE(RecordPass(path_, Pass(day, 0.6)).ok());
  const std::string once = Text();
  for (int64_t again = 0; again < 4; ++again) {
    for (int64_t day = again; day < 4; ++day) {
      ASSERT_TRUE(RecordPass(path_, Pass(day, 0.5)).ok());
      ASSERT_EQ(ReadPasses(path_)->size(), 4u);
      ASSERT_TRUE(RecordPass(path_, Pass(day, 0.6)).ok());
    }
    EXPECT_EQ(Text(), once);
  }
}

TEST_F(ProgressiveTest, OverlapIsRefusedAndChangesNothing) {
  for (const int64_t day : {0, 2}) ASSERT_TRUE(RecordPass(path_, Pass(day, 0.6)).ok());
  const std::string before = Text();
  PassMetrics other = Pass(0, 0.6);
  other.pass.to_ms += 1;
  const Status status = RecordPass(path_, other);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("overlaps"));
  EXPECT_EQ(Text(), before);
  ASSERT_TRUE(RecordPass(path_, Pass(1, 0.6)).ok()) << "fits between";
  EXPECT_EQ((*ReadPasses(path_))[1].pass, Pass(1, 0).pass);
}

TEST_F(ProgressiveTest, DamageIsRefusedWithItsPlace) {
  ASSERT_TRUE(RecordPass(path_, Pass(0, 0.6)).ok());
  const std::string good = Text();
  for (const std::string& bad :
       {std::string("{"), std::string("[1]"), std::string("{}"), good,
        std::string(R"({"from_ms":5,"to_ms":5,"rows":1,"tasks":[]})"),
        std::string(R"({"from_ms":-5,"to_ms":5,"rows":1,"tasks":[]})"),
        std::string(R"({"from_ms":9904240000000,"to_ms":9904240000001,"rows":1,"tasks":[{}]})"),
        std::string(
            R"({"from_ms":9904240000000,"to_ms":9904240000001,"rows":1,"tasks":[{"task":"a",)"
            R"("gauc_by":"page","rows":1,"positives":1,"auc":"high"}]})")}) {
    ASSERT_TRUE(WriteFileDurably(path_, good + bad).ok());
    const Status status = ReadPasses(path_).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << bad << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + ": pass 2"));
    EXPECT_EQ(RecordPass(path_, Pass(1, 0.6)), status);
  }
}

TEST_F(ProgressiveTest, ChartsHoldTheMetrics) {
  const std::vector<PassMetrics> passes = {Pass(0, 0.6), Pass(1, 0.7)};
  const LineChart auc = AucOverTime(passes);
  EXPECT_THAT(auc.x_label, HasSubstr("2024-01-03 00:00 UTC"));
  ASSERT_EQ(auc.series.size(), 2u);
  EXPECT_EQ(auc.series[0].name, "click");
  EXPECT_THAT(auc.series[0].x, ElementsAre(1.0, 2.0));
  EXPECT_THAT(auc.series[0].y, ElementsAre(0.6, 0.7));
  EXPECT_TRUE(std::isnan(auc.series[1].y[0])) << "one class only";
  const LineChart pcoc = PcocOverTime(passes);
  ASSERT_EQ(pcoc.series.size(), 3u);
  EXPECT_THAT(pcoc.series[0].y, ElementsAre(1.0 / 3, 1.0 / 3));
  EXPECT_TRUE(pcoc.series[2].dashed);
  EXPECT_THAT(pcoc.series[2].y, ElementsAre(1.0, 1.0));
  EXPECT_TRUE(AucOverTime({}).series.empty());
  EXPECT_TRUE(PcocOverTime({}).series.empty());
}

// Of a report as Evaluate gives it: rows are all targets, labelled or not.
TEST_F(ProgressiveTest, MetricsOfAReport) {
  ScoreTable table;
  table.tasks = {"click", "convert"};
  for (uint64_t i = 0; i < 6; ++i) {
    table.event_id.push_back(i + 1);
    table.user_key.push_back(1);
    table.page_id.push_back(1);
    table.request_time_ms.push_back(0);
    table.history_len.push_back(0);
    table.split.push_back(Split::kTrain);
    table.labels.push_back(i < 2 ? 1 : 0);
    table.labels_known.push_back(i < 4 ? 1 : 2);
    table.p.push_back(i < 2 ? 0.75f : 0.25f);
    table.p.push_back(0.5f);
  }
  const auto report = Evaluate(table, EvalConfig());
  ASSERT_TRUE(report.ok()) << report.status();
  const PassMetrics metrics = MakePassMetrics({1, 2}, *report);
  EXPECT_EQ(metrics.rows, 6u);
  ASSERT_EQ(metrics.tasks.size(), 2u);
  EXPECT_EQ(metrics.tasks[0].rows, 4u);
  EXPECT_EQ(metrics.tasks[0].positives, 2u);
  EXPECT_EQ(metrics.tasks[0].auc, 1.0);
  EXPECT_EQ(metrics.tasks[0].gauc, 1.0);
  EXPECT_EQ(metrics.tasks[0].pcoc, 1.0);
  EXPECT_EQ(metrics.tasks[1].rows, 2u);
  EXPECT_EQ(metrics.tasks[1].auc, std::nullopt);
}

}  // namespace
}  // namespace grab
