// What grab-bench-serve measures. Servers are processes of their own; the load comes from this one,
// on the same cores.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/result.h"
#include "bench/world.h"

namespace grab::bench {

struct ServingOptions {
  std::string serve_binary;  // grab-serve
  std::string work_dir;
  // The model and its users: 1024 events each, d 128, 4 layers, bf16, all users cached.
  int64_t users = 128, events = 1024, candidates = 128;
  int workers = 2;
  int rounds = 5;
  double seconds = 8.0;  // of one load
  int swaps = 100;
  uint64_t stored_users = 1'000'000;
  int kills = 30;
  double soak_s = 0.0;  // 0: none
};

// The model of `options` released under work_dir/models, its users stored under work_dir/state.
struct Workload {
  std::unique_ptr<World> world;
  Model model;
  std::vector<UserBlock> blocks;
  std::string models_dir, state_dir;
};
StatusOr<std::unique_ptr<Workload>> MakeWorkload(const ServingOptions& options);

// rank_p50_ms, rank_p99_ms, ranks_per_second_saturation, overload_goodput_fraction,
// observe_per_second, memory_per_user_bytes.
StatusOr<std::vector<Figure>> MeasureLoad(const ServingOptions& options, const Workload& workload,
                                          std::string& table);
// soak_rss_growth, soak_unanswered.
StatusOr<std::vector<Figure>> MeasureSoak(const ServingOptions& options, const Workload& workload);
// dropped_requests_during_swap.
StatusOr<Figure> MeasureSwaps(const ServingOptions& options, const Workload& workload);
// restart_to_ready_seconds.
StatusOr<Figure> MeasureRestart(const ServingOptions& options, const Workload& workload);
// lost_events, duplicate_events.
StatusOr<std::vector<Figure>> MeasureKills(const ServingOptions& options, const Workload& workload);

}  // namespace grab::bench
