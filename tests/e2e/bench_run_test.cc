// `grab bench` at toy sizes: every case runs, and bench.json has the figures it promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/cli_process.h"

namespace grab {
namespace {

using testing::HasSubstr;

TEST(Bench, WritesEveryFigureOfAQuickRun) {
  const TempDir dir;
  const CommandResult run = Grab({"bench", "--quick", "--out", dir.File("bench.json")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto list = nlohmann::json::parse(ReadFile(dir.File("bench.json"), 64 << 20).value());
  ASSERT_TRUE(list.is_array());
  EXPECT_EQ(list[0]["name"], "machine");
  EXPECT_FALSE(list[0]["details"]["compiler"].get<std::string>().empty());
  std::set<std::string> names;
  for (const auto& figure : list) {
    const std::string name = figure["name"];
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    EXPECT_TRUE(std::isfinite(figure["value"].get<double>())) << name;
    EXPECT_FALSE(figure["unit"].get<std::string>().empty()) << name;
    if (figure["unit"] == "ratio") {
      for (const char* side : {"numerator", "denominator"}) {
        EXPECT_GT(figure[side]["value"].get<double>(), 0) << name;
        EXPECT_FALSE(figure[side]["unit"].get<std::string>().empty()) << name;
      }
    }
  }
  for (const char* name : {"ceiling_gemm_f32_1t",
                           "ceiling_gemm_u8s8_2t",
                           "ceiling_memory_read_1t",
                           "attention_forward_peak_fraction",
                           "attention_backward_peak_fraction",
                           "attention_speedup_vs_padded_aten",
                           "attention_speedup_vs_segment_aten",
                           "train_step_peak_fraction",
                           "train_step_speedup_vs_padded_aten",
                           "train_step_speedup_vs_segment_aten",
                           "rank_shared_prefix_forward_ms",
                           "rank_shared_prefix_engine_ms",
                           "rank_full_aten_ms",
                           "rank_peak_fraction",
                           "rank_speedup_vs_shared_prefix_recompute",
                           "rank_speedup_vs_full_recompute",
                           "rank_bf16_speedup",
                           "rank_int8_speedup",
                           "append_event_us",
                           "append_event_memory_floor_fraction",
                           "length_rank_64_all_us_per_candidate",
                           "micro_gelu_rate",
                           "length_train_64_window_us_per_token"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
  const std::string markdown = ReadFile(dir.File("bench.md"), 64 << 20).value();
  EXPECT_THAT(markdown, HasSubstr("| attention_forward_peak_fraction |"));
  EXPECT_THAT(markdown, HasSubstr("padded ATen: torch threads"));
  EXPECT_THAT(run.out, HasSubstr("train_step_peak_fraction"));
}

TEST(Bench, ListsAndRefusesUnknownNames) {
  const CommandResult list = Grab({"bench", "--list"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.out, HasSubstr("  attention_forward_peak_fraction\n"));
  const CommandResult unknown = Grab({"bench", "--only", "atention"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("grab: error: --only atention"));
}

}  // namespace
}  // namespace grab
