#include "bench/serving/load_bench.h"

#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/unix_time.h"

namespace grab::bench {

LoadBench::LoadBench(const ServingOptions& options, const Workload& workload)
    : options_(options),
      workload_(workload),
      mix_(workload.world->spec.tokens.schema, workload.blocks,
           {.candidates = static_cast<int>(options.candidates), .item_ids_only = true}) {}

Status LoadBench::Start() {
  GRAB_ASSIGN_OR_RETURN(
      server_,
      ServerProcess::Start(options_.serve_binary,
                           {"--model", workload_.models_dir, "--state", workload_.state_dir,
                            "--workers", absl::StrCat(options_.workers), "--cache-mb", "4096"},
                           JoinPath(options_.work_dir, "server.log")));
  GRAB_ASSIGN_OR_RETURN(connection_, server_->Connect());
  rss_before_ = server_->RssBytes();
  GRAB_RETURN_IF_ERROR(PutItems());
  return RankEveryUser();
}

Status LoadBench::PutItems() {
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

Status LoadBench::RankEveryUser() {
  for (const std::string& user : workload_.blocks[0].user_id) {
    v1::RankRequest request;
    request.set_user_id(user);
    request.add_candidates();
    GRAB_RETURN_IF_ERROR(connection_->Rank(request, 30.0).status());
  }
  rss_after_ = server_->RssBytes();
  return absl::OkStatus();
}

double LoadBench::BytesPerUser() const {
  return static_cast<double>(rss_after_ - rss_before_) / static_cast<double>(options_.users);
}

LoadResult LoadBench::Load(double rate, double seconds) {
  LoadOptions load;
  load.ranks_per_s = rate;
  load.observes_per_s = kObserveShare * rate;
  load.seconds = seconds;
  load.seed = ++seed_;
  return RunLoad(*connection_, mix_, load);
}

void LoadBench::ObserveUntil(const std::atomic<bool>& stop, int number,
                             std::atomic<uint64_t>& acknowledged, std::atomic<uint64_t>& failed) {
  const auto stub = connection_->NewStub();
  Rng rng(++seed_, HashId(number));
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
    const bool ok = stub->Observe(&context, request, &response).ok();
    (ok ? acknowledged : failed) += kObserveEventsPerCall;
  }
}

StatusOr<double> LoadBench::ObserveRate() {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> acknowledged{0}, failed{0};
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (int t = 0; t < kObserveThreads; ++t) {
    threads.emplace_back([&, t] { ObserveUntil(stop, t, acknowledged, failed); });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(options_.seconds));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  if (failed > 0) return absl::InternalError(absl::StrCat(failed.load(), " events were refused"));
  return static_cast<double>(acknowledged) / watch.Seconds();
}

}  // namespace grab::bench
