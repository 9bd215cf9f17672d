#include "bench/serving/observe_kills.h"

#include <atomic>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "bench/serving/server_process.h"
#include "client/connection.h"
#include "state/user_store.h"

namespace grab::bench {
namespace {

constexpr int kEventsPerCall = 4;
constexpr uint64_t kUsersPerClient = 5;

// One client's events: what is not acknowledged is sent again, as a client that wants it stored
// does.
class Observer {
 public:
  Observer(int number, uint64_t seed) : number_(number), rng_(seed, HashId(number)) { Next(); }

  // Until the server is gone.
  void Run(Connection& connection, const std::atomic<bool>& stop) {
    while (!stop) {
      if (!connection.Observe(request_, 5.0).ok()) {
        ++unanswered_;
        return;
      }
      for (const v1::Event& event : request_.events()) {
        acknowledged_[event.user_id()].push_back(event.event_key());
      }
      Next();
      Rank(connection);
    }
  }

  const absl::flat_hash_map<std::string, std::vector<uint64_t>>& acknowledged() const {
    return acknowledged_;
  }
  uint64_t unanswered() const { return unanswered_; }

 private:
  void Next() {
    request_.Clear();
    for (int e = 0; e < kEventsPerCall; ++e) {
      v1::Event& event = *request_.add_events();
      event.set_user_id(absl::StrCat("client", number_, "-user", rng_.Below(kUsersPerClient)));
      event.set_event_key(HashCombine(HashId(number_), ++sent_));
      event.set_known_time_ms(static_cast<int64_t>(sent_));
    }
  }

  // So that kills meet the ranking path, too.
  void Rank(Connection& connection) {
    v1::RankRequest request;
    request.set_user_id(request_.events(0).user_id());
    request.add_candidates();
    connection.Rank(request, 5.0).IgnoreError();
  }

  const int number_;
  Rng rng_;
  v1::ObserveRequest request_;
  uint64_t sent_ = 0, unanswered_ = 0;
  absl::flat_hash_map<std::string, std::vector<uint64_t>> acknowledged_;  // by user
};

StatusOr<std::unique_ptr<ServerProcess>> StartServer(const ObserveKillOptions& options,
                                                     const std::string& state_dir) {
  return ServerProcess::Start(options.binary, {"--model", options.model_dir, "--state", state_dir},
                              JoinPath(options.work_dir, "server.log"));
}

Status RunAndKill(const ObserveKillOptions& options, const std::string& state_dir, double after_s,
                  std::vector<Observer>& observers, ObserveKillResult& result) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ServerProcess> server,
                        StartServer(options, state_dir));
  result.restart_s.push_back(server->ready_s());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < observers.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto connection = server->Connect();
      if (connection.ok()) observers[i].Run(**connection, stop);
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(after_s));
  server->Kill();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  ++result.kills;
  return absl::OkStatus();
}

Status CountStored(const ObserveKillOptions& options, const std::string& state_dir,
                   const std::vector<Observer>& observers, ObserveKillResult& result) {
  UserStoreOptions store_options;
  store_options.dir = state_dir;
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<UserStore> store,
                        UserStore::Open(store_options, options.schema));
  for (const Observer& observer : observers) {
    result.unanswered += observer.unanswered();
    for (const auto& [user_id, event_ids] : observer.acknowledged()) {
      UserEvents events;
      events.columns = MakeColumns(options.schema);
      GRAB_RETURN_IF_ERROR(store->Read(HashId(user_id), std::nullopt, UINT64_MAX, events));
      absl::flat_hash_set<uint64_t> stored;
      for (const uint64_t id : events.columns.event_id) {
        if (!stored.insert(id).second) ++result.duplicates;
      }
      result.acknowledged += event_ids.size();
      for (const uint64_t id : event_ids) result.lost += stored.contains(id) ? 0 : 1;
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<ObserveKillResult> KillWhileObserving(const ObserveKillOptions& options) {
  const std::string state_dir = JoinPath(options.work_dir, "state");
  std::vector<Observer> observers;
  for (int i = 0; i < options.clients; ++i) observers.emplace_back(i, options.seed);
  Rng rng(options.seed);
  ObserveKillResult result;
  for (int kill = 0; kill < options.kills; ++kill) {
    GRAB_RETURN_IF_ERROR(
        RunAndKill(options, state_dir, options.run_s_max * rng.Uniform(), observers, result));
  }
  GRAB_RETURN_IF_ERROR(CountStored(options, state_dir, observers, result));
  return result;
}

}  // namespace grab::bench
