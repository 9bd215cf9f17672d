#include "train/release.h"

#include <algorithm>
#include <optional>

#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"

namespace grab {
namespace {

ModelView ViewOfState(const RunState& state, const ModelSpec& spec) {
  ModelView view = {spec, {}, state.tables};
  for (const auto& [name, weight] : state.net.weights()) {
    view.weights[name] = weight.data_ptr<float>();
  }
  return view;
}

// Keeps the newest `kept` releases and every one they build on.
Status PruneReleases(const std::string& dir, int64_t kept) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<uint64_t> steps, CheckpointSteps(dir));  // ascending
  const auto count = static_cast<int64_t>(steps.size());
  uint64_t oldest = steps[static_cast<size_t>(std::max<int64_t>(0, count - kept))];
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<uint64_t> base,
                          BaseStepOf(CheckpointPath(dir, oldest)));
    if (!base.has_value()) break;
    oldest = *base;
  }
  const auto needed =
      std::count_if(steps.begin(), steps.end(), [&](uint64_t step) { return step >= oldest; });
  return PruneCheckpoints(dir, static_cast<uint64_t>(needed)).status();
}

// What a delta may build on: the newest release, if it is whole on disk and nothing was forgotten.
StatusOr<std::optional<uint64_t>> BaseFor(const RunState& state, const std::string& dir) {
  for (const EmbeddingTable& table : state.tables) {
    if (!table.CollectTombstones().complete) return std::optional<uint64_t>();
  }
  GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult latest, LatestCheckpoint(dir));
  if (!latest.checkpoint.has_value() || !latest.skipped.empty()) return std::optional<uint64_t>();
  return std::optional<uint64_t>(latest.checkpoint->step);
}

}  // namespace

StatusOr<std::string> WriteRelease(RunState& state, const ModelSpec& spec, bool full, int64_t kept,
                                   const std::string& dir) {
  const auto step = static_cast<uint64_t>(state.counters.step);
  const ModelView view = ViewOfState(state, spec);
  std::optional<uint64_t> base;
  if (!full) {
    GRAB_ASSIGN_OR_RETURN(base, BaseFor(state, dir));
  }
  StatusOr<std::string> written = base.has_value() && *base < step
                                      ? ExportDelta(view, step, *base, dir)
                                      : ExportModel(view, step, Precision::kF32, dir);
  if (absl::IsAlreadyExists(written.status())) written = CheckpointPath(dir, step);
  GRAB_RETURN_IF_ERROR(written.status());
  for (EmbeddingTable& table : state.tables) table.EndPeriod();
  GRAB_RETURN_IF_ERROR(PruneReleases(dir, kept));
  return written;
}

}  // namespace grab
