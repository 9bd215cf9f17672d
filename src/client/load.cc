#include "client/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <variant>

#include "base/unix_time.h"

namespace grab {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double MsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

double Percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0.0;
  const auto index = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::min(sorted.size() - 1, index == 0 ? 0 : index - 1)];
}

// Arrivals of one kind of call.
class Arrivals {
 public:
  Arrivals(double per_s, Clock::time_point start, Rng& rng) : per_s_(per_s), rng_(rng) {
    next_ = per_s > 0.0 ? start : Clock::time_point::max();
    if (per_s > 0.0) Advance();
  }
  Clock::time_point next() const { return next_; }
  void Advance() { next_ += Seconds(-std::log(1.0 - rng_.Uniform()) / per_s_); }

 private:
  double per_s_;
  Rng& rng_;
  Clock::time_point next_;
};

// Everything that calls under way report to.
class Tally {
 public:
  void Begin() {
    const std::scoped_lock lock(mutex_);
    ++in_flight_;
  }
  size_t in_flight() const {
    const std::scoped_lock lock(mutex_);
    return in_flight_;
  }
  void End(CallStats& stats, std::vector<double>& ms, bool measured, const Status& status,
           Clock::time_point due, uint64_t degraded) {
    const double latency_ms = MsBetween(due, Clock::now());
    const std::scoped_lock lock(mutex_);
    if (measured) {
      if (status.ok()) {
        ++stats.ok;
        ms.push_back(latency_ms);
        degraded_ += degraded;
      } else if (absl::IsResourceExhausted(status)) {
        ++stats.refused;
      } else if (absl::IsDeadlineExceeded(status)) {
        ++stats.expired;
      } else if (stats.failed++ == 0) {
        stats.failure = status.ToString();
      }
    }
    if (--in_flight_ == 0) none_.notify_all();
  }
  void WaitForNone() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [&] { return in_flight_ == 0; });
  }
  uint64_t degraded() const { return degraded_; }

 private:
  mutable std::mutex mutex_;
  std::condition_variable none_;
  size_t in_flight_ = 0;
  uint64_t degraded_ = 0;
};

// A call under way. It must be gone before it is tallied: the last one keeps its channel, which may
// not end on gRPC's own thread.
template <class Request, class Response>
struct Call {
  grpc::ClientContext context;
  Request request;
  Response response;
};

class LoadRun {
 public:
  LoadRun(const Connection& connection, const LoadMix& mix, const LoadOptions& options)
      : connection_(connection),
        mix_(mix),
        options_(options),
        rng_(options.seed),
        event_keys_(static_cast<uint64_t>(UnixMs())) {
    for (int i = 0; i < options.connections; ++i) stubs_.push_back(connection.NewStub());
  }

  LoadResult Run() {
    const Clock::time_point start = Clock::now();
    measured_from_ = start + Seconds(options_.warm_s);
    const Clock::time_point end = measured_from_ + Seconds(options_.seconds);
    Arrivals ranks(options_.ranks_per_s, start, rng_),
        observes(options_.observes_per_s, start, rng_);
    while (true) {
      const bool rank = ranks.next() <= observes.next();
      const Clock::time_point due = rank ? ranks.next() : observes.next();
      if (due >= end) break;
      std::this_thread::sleep_until(due);
      if (due >= measured_from_) late_ms_.push_back(MsBetween(due, Clock::now()));
      if (rank) {
        SendRank(due);
        ranks.Advance();
      } else {
        SendObserve(due);
        observes.Advance();
      }
    }
    tally_.WaitForNone();
    return Result();
  }

 private:
  // Whether the call is measured and may be sent.
  bool Due(Clock::time_point due, CallStats& stats) {
    if (due >= measured_from_) ++stats.due;
    if (tally_.in_flight() < options_.in_flight_max) return true;
    if (due >= measured_from_) ++stats.not_sent;
    return false;
  }

  void SendRank(Clock::time_point due) {
    if (!Due(due, result_.rank)) return;
    tally_.Begin();
    // The request outlives the call: it belongs to the mix.
    const v1::RankRequest& request = mix_.Rank(rng_);
    auto* call = new Call<std::monostate, v1::RankResponse>;
    connection_.Prepare(options_.timeout_s, call->context);
    NextStub().async()->Rank(&call->context, &request, &call->response,
                             [this, call, due](const grpc::Status& status) {
                               const uint64_t degraded = call->response.degraded() ? 1 : 0;
                               delete call;
                               tally_.End(result_.rank, rank_ms_, due >= measured_from_,
                                          FromGrpc(status), due, degraded);
                             });
  }

  void SendObserve(Clock::time_point due) {
    if (!Due(due, result_.observe)) return;
    tally_.Begin();
    auto* call = new Call<v1::ObserveRequest, v1::ObserveResponse>;
    call->request = mix_.Observe(UnixMs(), event_keys_.Next() | 1, rng_);
    connection_.Prepare(options_.timeout_s, call->context);
    NextStub().async()->Observe(&call->context, &call->request, &call->response,
                                [this, call, due](const grpc::Status& status) {
                                  delete call;
                                  tally_.End(result_.observe, observe_ms_, due >= measured_from_,
                                             FromGrpc(status), due, 0);
                                });
  }

  v1::Grab::Stub& NextStub() { return *stubs_[next_stub_++ % stubs_.size()]; }

  LoadResult Result() {
    const auto fill = [](CallStats& stats, std::vector<double>& ms) {
      std::sort(ms.begin(), ms.end());
      stats.p50_ms = Percentile(ms, 0.5);
      stats.p90_ms = Percentile(ms, 0.9);
      stats.p99_ms = Percentile(ms, 0.99);
      stats.p999_ms = Percentile(ms, 0.999);
      stats.max_ms = ms.empty() ? 0.0 : ms.back();
    };
    fill(result_.rank, rank_ms_);
    fill(result_.observe, observe_ms_);
    std::sort(late_ms_.begin(), late_ms_.end());
    result_.late_p99_ms = Percentile(late_ms_, 0.99);
    result_.degraded = tally_.degraded();
    result_.seconds = options_.seconds;
    result_.ok_ranks_per_s = static_cast<double>(result_.rank.ok) / options_.seconds;
    return result_;
  }

  const Connection& connection_;
  const LoadMix& mix_;
  const LoadOptions options_;
  Rng rng_;
  Rng event_keys_;  // others in every run
  std::vector<std::unique_ptr<v1::Grab::Stub>> stubs_;
  size_t next_stub_ = 0;
  Clock::time_point measured_from_;
  Tally tally_;
  LoadResult result_;
  std::vector<double> rank_ms_, observe_ms_, late_ms_;
};

nlohmann::json ToJson(const CallStats& stats) {
  nlohmann::json json = {
      {"due", stats.due},         {"ok", stats.ok},         {"refused", stats.refused},
      {"expired", stats.expired}, {"failed", stats.failed}, {"not_sent", stats.not_sent},
      {"p50_ms", stats.p50_ms},   {"p90_ms", stats.p90_ms}, {"p99_ms", stats.p99_ms},
      {"p999_ms", stats.p999_ms}, {"max_ms", stats.max_ms}};
  if (!stats.failure.empty()) json["failure"] = stats.failure;
  return json;
}

}  // namespace

LoadResult RunLoad(const Connection& connection, const LoadMix& mix, const LoadOptions& options) {
  return LoadRun(connection, mix, options).Run();
}

nlohmann::json ToJson(const LoadResult& result) {
  return {{"rank", ToJson(result.rank)},
          {"observe", ToJson(result.observe)},
          {"degraded", result.degraded},
          {"seconds", result.seconds},
          {"ok_ranks_per_s", result.ok_ranks_per_s},
          {"late_p99_ms", result.late_p99_ms}};
}

}  // namespace grab
