#include "train/run_state.h"

#include <torch/utils.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"
#include "train/heads.h"
#include "train/recency_prior.h"
#include "train/table_options.h"

namespace grab {
namespace {

constexpr char kAdamSteps[] = "adam.steps";

// The counters by name, for writing and reading alike.
std::map<std::string, int64_t*> Integers(RunCounters& counters) {
  return {{"step", &counters.step},
          {"pass", &counters.pass},
          {"slice", &counters.slice},
          {"stage", &counters.stage},
          {"batches_in_stage", &counters.batches_in_stage},
          {"targets_in_pass", &counters.targets_in_pass},
          {"table_targets_in_pass", &counters.table_targets_in_pass},
          {"validations_in_pass", &counters.validations_in_pass},
          {"table_validations_in_pass", &counters.table_validations_in_pass},
          {"targets", &counters.targets},
          {"table_targets", &counters.table_targets},
          {"tokens", &counters.tokens},
          {"best_step", &counters.best_step},
          {"worse_validations", &counters.worse_validations},
          {"newest_request_s", &counters.newest_request_s},
          {"warmup_targets", &counters.warmup_targets},
          {"threads", &counters.threads},
          {"dual_loss_window_targets", &counters.dual_loss.window_targets},
          {"dual_loss_windows", &counters.dual_loss.windows},
          {"dual_loss_plateau_at", &counters.dual_loss.plateau_at}};
}

std::map<std::string, double*> Numbers(RunCounters& counters) {
  return {{"train_seconds", &counters.train_seconds},
          {"wait_seconds", &counters.wait_seconds},
          {"best_logloss", &counters.best_logloss},
          {"dual_loss_sum", &counters.dual_loss.loss_sum},
          {"dual_loss_window_loss", &counters.dual_loss.window_loss}};
}

std::string CountersJson(RunCounters counters) {
  nlohmann::json json;
  for (const auto& [name, value] : Integers(counters)) json[name] = *value;
  for (const auto& [name, value] : Numbers(counters)) json[name] = *value;
  json["finished"] = counters.finished;
  return json.dump();
}

Status ReadCounters(const Checkpoint& checkpoint, RunCounters& counters) {
  const nlohmann::json json = nlohmann::json::parse(checkpoint.state_json, nullptr, false);
  const auto invalid = [&](const std::string& key) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.dir, ": the state lacks '", key, "' or it has the wrong type"));
  };
  for (const auto& [name, value] : Integers(counters)) {
    if (!json.contains(name) || !json[name].is_number_integer()) return invalid(name);
    *value = json[name].get<int64_t>();
  }
  for (const auto& [name, value] : Numbers(counters)) {
    if (!json.contains(name) || !json[name].is_number()) return invalid(name);
    *value = json[name].get<double>();
  }
  for (const auto& [name, value] : Integers(counters)) {
    const int64_t least = value == &counters.dual_loss.plateau_at ? -1 : 0;
    if (*value < least) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint.dir, ": the state's '", name, "' is ", *value));
    }
  }
  if (!json.contains("finished") || !json["finished"].is_boolean()) return invalid("finished");
  counters.finished = json["finished"].get<bool>();
  return absl::OkStatus();
}

// The dense tensors of a run by name: weights, and the moments of their optimiser.
std::vector<std::pair<std::string, torch::Tensor>> DenseTensors(RunState& state) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors = state.net.weights();
  for (size_t i = 0; i < state.net.weights().size(); ++i) {
    const std::string& name = state.net.weights()[i].first;
    tensors.emplace_back("adam.first." + name, state.optimiser.first_moments()[i]);
    tensors.emplace_back("adam.second." + name, state.optimiser.second_moments()[i]);
  }
  return tensors;
}

Status WriteDense(RunState& state, const std::string& path) {
  SafetensorsWriter writer;
  for (const auto& [name, tensor] : DenseTensors(state)) {
    GRAB_RETURN_IF_ERROR(
        writer.Add(name, Dtype::kF32, tensor.sizes().vec(), tensor.data_ptr<float>()));
  }
  const std::vector<int64_t>& steps = state.optimiser.steps();
  GRAB_RETURN_IF_ERROR(
      writer.Add(kAdamSteps, Dtype::kI64, {static_cast<int64_t>(steps.size())}, steps.data()));
  return writer.Write(path);
}

Status ReadDense(const std::string& path, RunState& state) {
  torch::NoGradGuard no_grad;
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  for (const auto& [name, tensor] : DenseTensors(state)) {
    GRAB_RETURN_IF_ERROR(reader->Read(
        name, Dtype::kF32, tensor.sizes().vec(),
        absl::MakeSpan(tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel()))));
  }
  std::vector<int64_t>& steps = state.optimiser.steps();
  return reader->Read(kAdamSteps, Dtype::kI64, {static_cast<int64_t>(steps.size())},
                      absl::MakeSpan(steps));
}

}  // namespace

RunState::RunState(const ModelSpec& spec, const TrainConfig& config)
    : net(spec, static_cast<uint64_t>(config.seed), torch::kFloat32, HeadWeights(spec, config)),
      tables(MakeTables(spec, config, 0)),
      optimiser(net.weights(), config.weight_decay) {
  if (config.recency_prior > 0.0) PreferRecent(spec, config.recency_prior, net.w());
}

StatusOr<bool> SaveRunState(RunState& state, const ModelSpec& spec, const std::string& dir,
                            int64_t kept) {
  StatusOr<std::unique_ptr<CheckpointWriter>> writer =
      CheckpointWriter::Begin(dir, static_cast<uint64_t>(state.counters.step));
  if (absl::IsAlreadyExists(writer.status())) return false;
  GRAB_RETURN_IF_ERROR(writer.status());
  GRAB_RETURN_IF_ERROR(WriteSpec(spec, (*writer)->Path(kSpecFile)));
  GRAB_RETURN_IF_ERROR(WriteDense(state, (*writer)->Path(kWeightsFile)));
  GRAB_RETURN_IF_ERROR(WriteTables(spec.tokens.tables, state.tables, (*writer)->Path(kTablesFile)));
  GRAB_RETURN_IF_ERROR((*writer)->Commit(CountersJson(state.counters)));
  GRAB_RETURN_IF_ERROR(PruneCheckpoints(dir, static_cast<uint64_t>(kept)).status());
  return true;
}

Status LoadRunState(const std::string& dir, const ModelSpec& spec, const TrainConfig& config,
                    RunState& state, std::vector<std::string>& skipped) {
  GRAB_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenLatestCheckpoint(dir, skipped));
  GRAB_ASSIGN_OR_RETURN(const ModelSpec saved, ReadSpec(JoinPath(checkpoint.dir, kSpecFile)));
  if (saved.ToJson() != spec.ToJson()) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.dir, ": was trained with another model or schema than this config gives"));
  }
  GRAB_RETURN_IF_ERROR(ReadCounters(checkpoint, state.counters));
  state.tables = MakeTables(spec, config, state.counters.pass);
  GRAB_RETURN_IF_ERROR(ReadDense(JoinPath(checkpoint.dir, kWeightsFile), state));
  return ReadTables(JoinPath(checkpoint.dir, kTablesFile), spec.tokens.tables, state.tables);
}

}  // namespace grab
