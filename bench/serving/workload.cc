#include "base/file.h"
#include "bench/serving/cases.h"
#include "checkpoint/model_files.h"
#include "state/user_store.h"

namespace grab::bench {
namespace {

constexpr size_t kEventsPerWrite = 8192;

Sizes SizesOf(const ServingOptions& options) {
  Sizes sizes;
  sizes.d_model = 128;
  sizes.heads = 4;
  sizes.layers = 4;
  sizes.ffn_hidden = 512;
  sizes.tokenizer_hidden = 128;
  sizes.rank_events = options.events;
  return sizes;
}

Status StoreBlock(const UserBlock& block, UserStore& store) {
  std::vector<NewEvent> events;
  std::vector<AppendOutcome> outcomes;
  for (size_t user = 0; user < block.users(); ++user) {
    for (uint32_t row = block.user_offsets[user]; row < block.user_offsets[user + 1]; ++row) {
      events.push_back({block.user_id[user], "", &block.events, row});
      const bool last = user + 1 == block.users() && row + 1 == block.user_offsets[user + 1];
      if (events.size() < kEventsPerWrite && !last) continue;
      outcomes.resize(events.size());
      GRAB_RETURN_IF_ERROR(store.AppendAll(events, absl::MakeSpan(outcomes)));
      events.clear();
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<Workload>> MakeWorkload(const ServingOptions& options) {
  auto workload = std::make_unique<Workload>();
  workload->world = MakeWorld(SizesOf(options), 1, options.events);
  workload->model = MakeModel(*workload->world, kSeed);
  const std::vector<int64_t> events(static_cast<size_t>(options.users), options.events);
  workload->blocks.push_back(MakeUsers(*workload->world, events, kSeed));
  for (size_t row = 0; row < workload->blocks[0].events.size(); ++row) {
    workload->blocks[0].events.event_id[row] = row + 1;
  }
  workload->models_dir = JoinPath(options.work_dir, "models");
  workload->state_dir = JoinPath(options.work_dir, "state");
  for (const std::string& dir : {workload->models_dir, workload->state_dir}) {
    GRAB_RETURN_IF_ERROR(RemoveAll(dir));
  }
  GRAB_RETURN_IF_ERROR(
      ExportModel(ViewOf(workload->model), 1, Precision::kBf16, workload->models_dir).status());
  UserStoreOptions store_options;
  store_options.dir = workload->state_dir;
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<UserStore> store,
                        UserStore::Open(store_options, workload->world->spec.tokens.schema));
  GRAB_RETURN_IF_ERROR(StoreBlock(workload->blocks[0], *store));
  return workload;
}

}  // namespace grab::bench
