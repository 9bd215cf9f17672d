#include "train/run_state.h"

#include <map>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"
#include "train/table_options.h"

namespace grab {
namespace {

// The integer counters by name, for writing and reading alike.
std::map<std::string, int64_t*> Integers(RunCounters& counters) {
  return {{"step", &counters.step},
          {"pass", &counters.pass},
          {"batches_in_pass", &counters.batches_in_pass},
          {"targets_in_pass", &counters.targets_in_pass},
          {"validations_in_pass", &counters.validations_in_pass},
          {"targets", &counters.targets},
          {"tokens", &counters.tokens},
          {"best_step", &counters.best_step},
          {"worse_validations", &counters.worse_validations},
          {"newest_request_s", &counters.newest_request_s},
          {"threads", &counters.threads}};
}

std::string CountersJson(RunCounters counters) {
  nlohmann::json json;
  for (const auto& [name, value] : Integers(counters)) json[name] = *value;
  json["train_seconds"] = counters.train_seconds;
  json["best_logloss"] = counters.best_logloss;
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
  for (const auto& [name, value] : std::map<std::string, double*>{
           {"train_seconds", &counters.train_seconds}, {"best_logloss", &counters.best_logloss}}) {
    if (!json.contains(name) || !json[name].is_number()) return invalid(name);
    *value = json[name].get<double>();
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
  return absl::OkStatus();
}

}  // namespace

RunState::RunState(const ModelSpec& spec, const TrainConfig& config)
    : net(spec, static_cast<uint64_t>(config.seed)),
      tables(MakeTables(spec, config)),
      optimiser(net.weights(), config.weight_decay) {}

Status SaveRunState(RunState& state, const ModelSpec& spec, const std::string& dir, int64_t kept) {
  StatusOr<std::unique_ptr<CheckpointWriter>> writer =
      CheckpointWriter::Begin(dir, static_cast<uint64_t>(state.counters.step));
  if (absl::IsAlreadyExists(writer.status())) return absl::OkStatus();
  GRAB_RETURN_IF_ERROR(writer.status());
  GRAB_RETURN_IF_ERROR(WriteSpec(spec, (*writer)->Path(kSpecFile)));
  GRAB_RETURN_IF_ERROR(WriteDense(state, (*writer)->Path(kWeightsFile)));
  GRAB_RETURN_IF_ERROR(WriteTables(spec.tokens.tables, state.tables, (*writer)->Path(kTablesFile)));
  GRAB_RETURN_IF_ERROR((*writer)->Commit(CountersJson(state.counters)));
  return PruneCheckpoints(dir, static_cast<uint64_t>(kept)).status();
}

Status LoadRunState(const std::string& dir, const ModelSpec& spec, const TrainConfig& config,
                    RunState& state, std::vector<std::string>& skipped) {
  GRAB_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenLatestCheckpoint(dir, skipped));
  GRAB_ASSIGN_OR_RETURN(const ModelSpec saved, ReadSpec(JoinPath(checkpoint.dir, kSpecFile)));
  if (saved.ToJson() != spec.ToJson()) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.dir, ": was trained with another model or schema than this config gives"));
  }
  state.tables = MakeTables(spec, config);
  GRAB_RETURN_IF_ERROR(ReadCounters(checkpoint, state.counters));
  state.optimiser.set_steps(state.counters.step);
  GRAB_RETURN_IF_ERROR(ReadDense(JoinPath(checkpoint.dir, kWeightsFile), state));
  return ReadTables(JoinPath(checkpoint.dir, kTablesFile), spec.tokens.tables, state.tables);
}

}  // namespace grab
