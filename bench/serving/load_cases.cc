#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/file.h"
#include "bench/serving/cases.h"
#include "bench/serving/load_bench.h"
#include "bench/serving/server_process.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"

namespace grab::bench {
namespace {

constexpr double kFirstRate = 60.0;
constexpr double kRateStep = 1.3;
constexpr double kKeptUp = 0.95;  // of what is offered
constexpr double kSoakRate = 150.0;
constexpr double kSoakSlice_s = 10.0;
constexpr size_t kSoakParts = 10;

std::string RowOf(double rate, const LoadResult& result) {
  return absl::StrFormat("| %.0f | %.1f | %.2f | %.2f | %.2f | %.2f | %d | %d | %d | %d |\n", rate,
                         result.ok_ranks_per_s, result.rank.p50_ms, result.rank.p99_ms,
                         result.rank.p999_ms, result.late_p99_ms, result.rank.refused,
                         result.rank.expired, result.rank.failed + result.rank.not_sent,
                         result.degraded);
}

// The largest rate of answers over rates that grow until they are not kept up with.
double Sweep(LoadBench& bench, double seconds, std::string* table) {
  double best = 0.0;
  for (double rate = kFirstRate;; rate *= kRateStep) {
    const LoadResult result = bench.Load(rate, seconds);
    if (table != nullptr) *table += RowOf(rate, result);
    best = std::max(best, result.ok_ranks_per_s);
    if (double(result.rank.ok) < kKeptUp * double(result.rank.due)) return best;
  }
}

}  // namespace

StatusOr<std::vector<Figure>> MeasureLoad(const ServingOptions& options, const Workload& workload,
                                          std::string& table) {
  LoadBench bench(options, workload);
  GRAB_RETURN_IF_ERROR(bench.Start());
  table +=
      "| offered/s | answered/s | p50 ms | p99 ms | p999 ms | sent late p99 ms | refused | expired "
      "| failed | "
      "degraded |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
  Series saturation{"ranks_per_second_saturation", "1/s", {}}, p50{"rank_p50_ms", "ms", {}},
      p99{"rank_p99_ms", "ms", {}}, goodput{"overload_goodput_fraction", "of saturation", {}},
      observe{"observe_per_second", "events/s", {}};
  for (int round = 0; round < options.rounds; ++round) {
    std::string* const rows = round == 0 ? &table : nullptr;
    const double rate = Sweep(bench, options.seconds / 2, rows);
    saturation.values.push_back(rate);
    const LoadResult half = bench.Load(rate / 2, options.seconds);
    p50.values.push_back(half.rank.p50_ms);
    p99.values.push_back(half.rank.p99_ms);
    const LoadResult twice = bench.Load(rate * 2, options.seconds);
    goodput.values.push_back(twice.ok_ranks_per_s / rate);
    table += RowOf(rate / 2, half) + RowOf(rate * 2, twice);
    GRAB_ASSIGN_OR_RETURN(const double observed, bench.ObserveRate());
    observe.values.push_back(observed);
  }
  std::vector<Figure> figures;
  const std::string what =
      absl::StrCat(options.candidates, " candidates by id, ", options.events,
                   " cached events, d 128, 4 layers, 1 channel, bf16, ", options.workers,
                   " workers; load generator and server on the same cores, one Observe per ",
                   1.0 / kObserveShare, " ranks; ");
  const auto add = [&](Series series, const std::string& conditions) {
    Figure figure = Single(std::move(series));
    figure.conditions = what + conditions;
    figure.section = "Serving";
    figures.push_back(std::move(figure));
  };
  add(std::move(p50), "at half of saturation");
  add(std::move(p99), "at half of saturation");
  add(std::move(saturation), "largest rate of answers of a sweep, rates 1.3x apart");
  add(std::move(goodput), "at twice the saturation of the same round");
  add(std::move(observe), absl::StrCat("closed loop, ", kObserveThreads, " callers of ",
                                       kObserveEventsPerCall, " events, synced to disk"));
  add({"memory_per_user_bytes", "bytes", {bench.BytesPerUser()}},
      "growth of the process over the users that were cached");
  GRAB_RETURN_IF_ERROR(bench.Stop());
  return figures;
}

StatusOr<std::vector<Figure>> MeasureSoak(const ServingOptions& options, const Workload& workload) {
  LoadBench bench(options, workload);
  GRAB_RETURN_IF_ERROR(bench.Start());
  uint64_t answered = 0, unanswered = 0;
  std::vector<double> rss_mib;  // at the end of every part
  const Stopwatch watch;
  while (rss_mib.size() < kSoakParts) {
    const LoadResult result = bench.Load(kSoakRate, kSoakSlice_s);
    answered += result.rank.ok;
    unanswered += result.rank.due - result.rank.ok;
    const double part_ends_s =
        options.soak_s * static_cast<double>(rss_mib.size() + 1) / static_cast<double>(kSoakParts);
    if (watch.Seconds() < part_ends_s) continue;
    rss_mib.push_back(static_cast<double>(bench.RssBytes()) / (1 << 20));
  }
  GRAB_RETURN_IF_ERROR(bench.Stop());
  const double growth = rss_mib.back() / rss_mib[kSoakParts / 2 - 1] - 1.0;
  std::vector<Figure> figures;
  for (const auto& [name, unit, value] : {std::tuple{"soak_rss_growth", "of memory", growth},
                                          {"soak_unanswered", "requests", double(unanswered)}}) {
    Figure figure = Single({name, unit, {value}});
    figure.conditions = absl::StrFormat(
        "%.0f s at %.0f ranks/s with events; %d answered; growth over the second half; MiB "
        "of the process at each tenth: %s",
        watch.Seconds(), kSoakRate, answered,
        absl::StrJoin(rss_mib, " ", [](std::string* out, double mib) {
          absl::StrAppendFormat(out, "%.0f", mib);
        }));
    figure.section = "Serving";
    figures.push_back(std::move(figure));
  }
  return figures;
}

StatusOr<Figure> MeasureSwaps(const ServingOptions& options, const Workload& workload) {
  GRAB_ASSIGN_OR_RETURN(
      const std::unique_ptr<ServerProcess> server,
      ServerProcess::Start(options.serve_binary,
                           {"--model", workload.models_dir, "--state", workload.state_dir,
                            "--workers", absl::StrCat(options.workers), "--cache-mb", "4096",
                            "--poll-s", "0.05", "--warm-users", "16", "--queue-wait-max-s", "5"},
                           JoinPath(options.work_dir, "server.log")));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, server->Connect());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> ok{0}, dropped{0}, step{0};
  std::thread client([&] {
    Rng rng(kSeed);
    while (!stop) {
      v1::RankRequest request;
      request.set_user_id(workload.blocks[0].user_id[rng.Below(workload.blocks[0].user_id.size())]);
      for (int64_t c = 0; c < options.candidates; ++c) request.add_candidates();
      const StatusOr<v1::RankResponse> response = connection->Rank(request, 30.0);
      ++(response.ok() ? ok : dropped);
      if (response.ok()) step = std::max<uint64_t>(step, response->model_step());
    }
  });
  Status status;
  for (int swap = 0; swap < options.swaps && status.ok(); ++swap) {
    const auto next = static_cast<uint64_t>(swap) + 2;
    status =
        ExportModel(ViewOf(workload.model), next, Precision::kBf16, workload.models_dir).status();
    const Stopwatch watch;
    while (status.ok() && step < next) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (watch.Seconds() > 60.0) status = absl::InternalError("a release was not taken");
    }
    if (next > 3) GRAB_RETURN_IF_ERROR(RemoveAll(CheckpointPath(workload.models_dir, next - 2)));
  }
  stop = true;
  client.join();
  GRAB_RETURN_IF_ERROR(status);
  GRAB_RETURN_IF_ERROR(server->Stop());
  Figure figure = Single({"dropped_requests_during_swap", "requests", {double(dropped.load())}});
  figure.conditions = absl::StrCat(options.swaps, " swaps of the model while ",
                                   ok.load() + dropped.load(), " requests were ranked");
  figure.section = "Serving";
  return figure;
}

}  // namespace grab::bench
