#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/unix_time.h"
#include "bench/serving/cases.h"
#include "bench/serving/server_process.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "client/load.h"

namespace grab::bench {
namespace {

constexpr double kFirstRate = 60.0;
constexpr double kRateStep = 1.3;
constexpr double kKeptUp = 0.95;       // of what is offered
constexpr double kObserveShare = 0.1;  // events per ranked request
constexpr int kObserveThreads = 32;
constexpr int kObserveEventsPerCall = 16;

// A server with all users cached, and what it is loaded with.
class LoadBench {
 public:
  LoadBench(const ServingOptions& options, const Workload& workload)
      : options_(options),
        workload_(workload),
        mix_(workload.world->spec.tokens.schema, workload.blocks,
             {.candidates = static_cast<int>(options.candidates), .item_ids_only = true}) {}

  Status Start() {
    GRAB_ASSIGN_OR_RETURN(
        server_,
        ServerProcess::Start(options_.serve_binary,
                             {"--model", workload_.models_dir, "--state", workload_.state_dir,
                              "--workers", absl::StrCat(options_.workers), "--cache-mb", "4096"},
                             JoinPath(options_.work_dir, "server.log")));
    ConnectOptions connect;
    connect.target = server_->grpc_target();
    GRAB_ASSIGN_OR_RETURN(connection_, Connection::Open(connect));
    rss_before_ = server_->RssBytes();
    GRAB_RETURN_IF_ERROR(PutItems());
    return RankEveryUser();
  }

  // Bytes of the process per user whose history is cached.
  double BytesPerUser() const {
    return static_cast<double>(rss_after_ - rss_before_) / static_cast<double>(options_.users);
  }

  LoadResult Load(double rate, double seconds) {
    LoadOptions load;
    load.ranks_per_s = rate;
    load.observes_per_s = kObserveShare * rate;
    load.seconds = seconds;
    load.seed = ++seed_;
    return RunLoad(*connection_, mix_, load);
  }

  // Events per second that are acknowledged as durable, closed-loop.
  StatusOr<double> ObserveRate() {
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> acknowledged{0}, failed{0};
    std::vector<std::thread> threads;
    const Stopwatch watch;
    for (int t = 0; t < kObserveThreads; ++t) {
      threads.emplace_back([&, t] {
        const auto stub = connection_->NewStub();
        Rng rng(++seed_, HashId(t));
        while (!stop) {
          v1::ObserveRequest request;
          for (int e = 0; e < kObserveEventsPerCall; ++e) {
            const v1::ObserveRequest one = mix_.Observe(UnixMs(), rng.Next() | 1, rng);
            *request.add_events() = one.events(0);
            request.mutable_events(e)->set_user_id(absl::StrCat("observed", rng.Below(10000)));
          }
          grpc::ClientContext context;
          connection_->Prepare(10.0, context);
          v1::ObserveResponse response;
          if (stub->Observe(&context, request, &response).ok()) {
            acknowledged += kObserveEventsPerCall;
          } else {
            ++failed;
          }
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(options_.seconds));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    if (failed > 0)
      return absl::InternalError(absl::StrCat(failed.load(), " Observe calls failed"));
    return static_cast<double>(acknowledged) / watch.Seconds();
  }

  Status Stop() { return server_->Stop(); }

 private:
  Status PutItems() {
    const auto stub = v1::Admin::NewStub(
        grpc::CreateChannel(server_->admin_grpc_target(), grpc::InsecureChannelCredentials()));
    for (const v1::PutItemsRequest& request : mix_.Items()) {
      grpc::ClientContext context;
      connection_->Prepare(30.0, context);
      v1::PutItemsResponse response;
      GRAB_RETURN_IF_ERROR(FromGrpc(stub->PutItems(&context, request, &response)));
    }
    return absl::OkStatus();
  }

  Status RankEveryUser() {
    for (const std::string& user : workload_.blocks[0].user_id) {
      v1::RankRequest request;
      request.set_user_id(user);
      request.add_candidates();
      v1::RankResponse response;
      grpc::ClientContext context;
      connection_->Prepare(30.0, context);
      GRAB_RETURN_IF_ERROR(FromGrpc(connection_->grab().Rank(&context, request, &response)));
    }
    rss_after_ = server_->RssBytes();
    return absl::OkStatus();
  }

  const ServingOptions& options_;
  const Workload& workload_;
  const LoadMix mix_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Connection> connection_;
  int64_t rss_before_ = 0, rss_after_ = 0;
  std::atomic<uint64_t> seed_{kSeed};
};

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

StatusOr<Figure> MeasureSwaps(const ServingOptions& options, const Workload& workload) {
  GRAB_ASSIGN_OR_RETURN(
      const std::unique_ptr<ServerProcess> server,
      ServerProcess::Start(options.serve_binary,
                           {"--model", workload.models_dir, "--state", workload.state_dir,
                            "--workers", absl::StrCat(options.workers), "--cache-mb", "4096",
                            "--poll-s", "0.05", "--warm-users", "16", "--queue-wait-max-s", "5"},
                           JoinPath(options.work_dir, "server.log")));
  ConnectOptions connect;
  connect.target = server->grpc_target();
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, Connection::Open(connect));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> ok{0}, dropped{0}, step{0};
  std::thread client([&] {
    Rng rng(kSeed);
    while (!stop) {
      v1::RankRequest request;
      request.set_user_id(workload.blocks[0].user_id[rng.Below(workload.blocks[0].user_id.size())]);
      for (int64_t c = 0; c < options.candidates; ++c) request.add_candidates();
      v1::RankResponse response;
      grpc::ClientContext context;
      connection->Prepare(30.0, context);
      const bool answered = connection->grab().Rank(&context, request, &response).ok();
      ++(answered ? ok : dropped);
      if (answered) step = std::max<uint64_t>(step, response.model_step());
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
