#include "bench/cases.h"

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"

namespace grab::bench {

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"ceiling", {"ceiling_gemm_", "ceiling_memory_", "ceiling_cache_"}, RunCeilings},
      {"attention",
       {"attention_forward_peak_fraction", "attention_backward_peak_fraction"},
       RunAttention},
      {"attention_padded",
       {"attention_speedup_vs_padded_aten", "attention_speedup_vs_segment_aten"},
       RunAttentionPadded},
      {"train_step",
       {"train_step_peak_fraction", "train_step_speedup_vs_padded_aten",
        "train_step_speedup_vs_segment_aten", "train_step_bf16_speedup"},
       RunTrainStep},
      {"rank",
       {"rank_peak_fraction", "rank_bf16_speedup", "rank_int8_speedup",
        "rank_speedup_vs_shared_prefix_recompute", "rank_shared_prefix_forward_ms",
        "rank_shared_prefix_aten_ms", "rank_shared_prefix_engine_ms",
        "rank_speedup_vs_full_recompute", "rank_full_forward_ms", "rank_full_aten_ms"},
       RunRank},
      {"append",
       {"append_event_us", "append_event_cached_floor_fraction",
        "append_event_memory_floor_fraction"},
       RunAppend},
      {"micro", {"micro_"}, RunMicro},
      {"length", {"length_train_", "length_rank_"}, RunLengths},
  };
  return *cases;
}

bool Picks(const std::string& only, const Case& candidate) {
  return absl::StartsWith(candidate.name, only) ||
         absl::c_any_of(candidate.figures, [&](const std::string& figure) {
           const bool several = absl::EndsWith(figure, "_");
           return absl::StartsWith(figure, only) || (several && absl::StartsWith(only, figure));
         });
}

}  // namespace grab::bench
