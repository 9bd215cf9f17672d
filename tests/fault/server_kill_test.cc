// kill -9 under load: no acknowledged event is lost, none is there twice. 5 kills here;
// grab-bench-serve does 30.
#include <gtest/gtest.h>

#include "base/file.h"
#include "bench/serving/observe_kills.h"
#include "checkpoint/model_files.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"

namespace grab {
namespace {

TEST(ServerKillTest, KeepsWhatItAcknowledged) {
  TempDir dir;
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  ASSERT_TRUE(ExportModel(ViewOf(model), 1, Precision::kF32, dir.File("models")).ok());
  bench::ObserveKillOptions options;
  options.binary = GRAB_SERVE_BINARY;
  options.model_dir = dir.File("models");
  options.schema = model.spec.tokens.schema;
  options.work_dir = dir.path();
  options.kills = 5;
  const auto result = bench::KillWhileObserving(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->kills, 5);
  EXPECT_GT(result->acknowledged, 20u);
  EXPECT_EQ(result->lost, 0u);
  EXPECT_EQ(result->duplicates, 0u);
}

}  // namespace
}  // namespace grab
