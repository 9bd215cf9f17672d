// A server with all users of a workload cached, and what it is loaded with.
#pragma once

#include <atomic>
#include <memory>

#include "bench/serving/cases.h"
#include "bench/serving/server_process.h"
#include "client/load.h"

namespace grab::bench {

inline constexpr double kObserveShare = 0.1;  // events per ranked request
inline constexpr int kObserveThreads = 32;
inline constexpr int kObserveEventsPerCall = 16;

class LoadBench {
 public:
  // Both must outlive it.
  LoadBench(const ServingOptions& options, const Workload& workload);

  Status Start();
  Status Stop() { return server_->Stop(); }

  // Ranks at `rate` per second, kObserveShare times as many events beside them.
  LoadResult Load(double rate, double seconds);
  // Events per second that are acknowledged as durable, closed-loop.
  StatusOr<double> ObserveRate();

  // Bytes of the process per user whose history is cached.
  double BytesPerUser() const;
  int64_t RssBytes() const { return server_->RssBytes(); }

 private:
  Status PutItems();
  Status RankEveryUser();
  // One connection's events until `stop`; counts events.
  void ObserveUntil(const std::atomic<bool>& stop, int number, std::atomic<uint64_t>& acknowledged,
                    std::atomic<uint64_t>& failed);

  const ServingOptions& options_;
  const Workload& workload_;
  const LoadMix mix_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Connection> connection_;
  int64_t rss_before_ = 0, rss_after_ = 0;
  std::atomic<uint64_t> seed_{kSeed};
};

}  // namespace grab::bench
