#include <algorithm>

#include "base/file.h"
#include "base/hash.h"
#include "bench/serving/cases.h"
#include "bench/serving/observe_kills.h"
#include "bench/serving/server_process.h"
#include "state/user_store.h"

namespace grab::bench {
namespace {

constexpr size_t kUsersPerWrite = 4096;
constexpr int kRestarts = 3;

// Users of one event each; the row is one of the workload's.
Status StoreUsers(uint64_t users, const UserBlock& block, UserStore& store) {
  std::vector<std::string> ids(kUsersPerWrite);
  std::vector<NewEvent> events;
  std::vector<AppendOutcome> outcomes;
  for (uint64_t next = 0; next < users;) {
    events.clear();
    for (size_t i = 0; i < kUsersPerWrite && next < users; ++i, ++next) {
      ids[i] = absl::StrCat("stored user ", next);
      events.push_back({ids[i], "", &block.events, next % block.events.size()});
    }
    outcomes.resize(events.size());
    GRAB_RETURN_IF_ERROR(store.AppendAll(events, absl::MakeSpan(outcomes)));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Figure> MeasureRestart(const ServingOptions& options, const Workload& workload) {
  const std::string dir = JoinPath(options.work_dir, "many-users");
  GRAB_RETURN_IF_ERROR(RemoveAll(dir));
  {
    UserStoreOptions store_options;
    store_options.dir = dir;
    store_options.sync = false;
    GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<UserStore> store,
                          UserStore::Open(store_options, workload.world->spec.tokens.schema));
    GRAB_RETURN_IF_ERROR(StoreUsers(options.stored_users, workload.blocks[0], *store));
  }
  Series seconds{"restart_to_ready_seconds", "s", {}};
  for (int restart = 0; restart < kRestarts; ++restart) {
    GRAB_ASSIGN_OR_RETURN(
        const std::unique_ptr<ServerProcess> server,
        ServerProcess::Start(options.serve_binary, {"--model", workload.models_dir, "--state", dir},
                             JoinPath(options.work_dir, "server.log")));
    seconds.values.push_back(server->ready_s());
    server->Kill();
  }
  Figure figure = Single(std::move(seconds));
  figure.conditions =
      absl::StrCat("from the start of the process, after kill -9, until it answers; ",
                   options.stored_users, " stored users");
  figure.section = "Serving";
  return figure;
}

StatusOr<std::vector<Figure>> MeasureKills(const ServingOptions& options,
                                           const Workload& workload) {
  ObserveKillOptions kill;
  kill.binary = options.serve_binary;
  kill.model_dir = workload.models_dir;
  kill.schema = workload.world->spec.tokens.schema;
  kill.work_dir = JoinPath(options.work_dir, "kills");
  kill.kills = options.kills;
  GRAB_RETURN_IF_ERROR(RemoveAll(kill.work_dir));
  GRAB_RETURN_IF_ERROR(MakeDirectories(kill.work_dir));
  GRAB_ASSIGN_OR_RETURN(const ObserveKillResult result, KillWhileObserving(kill));
  std::vector<Figure> figures;
  for (const auto& [name, count] :
       {std::pair{"lost_events", result.lost}, {"duplicate_events", result.duplicates}}) {
    Figure figure = Single({name, "events", {double(count)}});
    figure.conditions =
        absl::StrCat(result.kills, " kills (-9) under load; ", result.acknowledged,
                     " events were acknowledged, ", result.unanswered, " calls were cut off");
    figure.section = "Serving";
    figures.push_back(std::move(figure));
  }
  return figures;
}

}  // namespace grab::bench
