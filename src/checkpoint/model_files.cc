#include "checkpoint/model_files.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"

namespace grab {
namespace {

constexpr uint64_t kSpecBytesMax = 64 << 20;
// In the manifest's state.
constexpr char kPrecisionKey[] = "precision";
constexpr char kBaseStepKey[] = "base_step";

Status ReadWeights(const std::string& path, Model& model) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  for (const WeightSpec& weight : model.spec.Weights()) {
    const TensorInfo* info = reader->Find(weight.name);
    // Before memory is taken: the file's size bounds what a spec may ask for.
    if (info == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor '", weight.name, "' is missing"));
    }
    if (info->shape != weight.shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": tensor '", weight.name, "' has shape [", absl::StrJoin(info->shape, ", "),
          "], the spec expects [", absl::StrJoin(weight.shape, ", "), "]"));
    }
    std::vector<float>& values = model.weights[weight.name];
    values.resize(static_cast<size_t>(weight.elements()));
    GRAB_RETURN_IF_ERROR(
        reader->Read(weight.name, Dtype::kF32, weight.shape, absl::MakeSpan(values)));
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
      return absl::DataLossError(
          absl::StrCat(path, ": tensor '", weight.name, "' has a value that is not finite"));
    }
  }
  return absl::OkStatus();
}

Status WriteWeights(const ModelView& model, const std::string& path) {
  SafetensorsWriter writer;
  for (const WeightSpec& weight : model.spec.Weights()) {
    GRAB_RETURN_IF_ERROR(
        writer.Add(weight.name, Dtype::kF32, weight.shape, model.weights.at(weight.name)));
  }
  return writer.Write(path);
}

StatusOr<std::string> WriteModel(const ModelView& model, uint64_t step, TableRows rows,
                                 const nlohmann::json& state, const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointWriter> writer,
                        CheckpointWriter::Begin(dir, step));
  GRAB_RETURN_IF_ERROR(WriteSpec(model.spec, writer->Path(kSpecFile)));
  GRAB_RETURN_IF_ERROR(WriteWeights(model, writer->Path(kWeightsFile)));
  GRAB_RETURN_IF_ERROR(
      WriteServedTables(model.spec.tokens.tables, model.tables, rows, writer->Path(kTablesFile)));
  GRAB_RETURN_IF_ERROR(writer->Commit(state.dump()));
  return writer->dir();
}

// Training checkpoints, whose state is another, name none: f32.
StatusOr<Precision> ReadPrecision(const Checkpoint& checkpoint) {
  const nlohmann::json state =
      nlohmann::json::parse(checkpoint.state_json, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains(kPrecisionKey)) return Precision::kF32;
  const StatusOr<Precision> precision = ParsePrecision(
      state[kPrecisionKey].is_string() ? state[kPrecisionKey].get<std::string>() : "");
  if (!precision.ok()) return Annotate(precision.status(), checkpoint.dir);
  return precision;
}

StatusOr<std::optional<uint64_t>> ReadBaseStep(const Checkpoint& checkpoint) {
  const nlohmann::json state =
      nlohmann::json::parse(checkpoint.state_json, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains(kBaseStepKey)) return std::optional<uint64_t>();
  const nlohmann::json& base = state[kBaseStepKey];
  if (!base.is_number_unsigned() || base.get<uint64_t>() >= checkpoint.step) {
    return absl::DataLossError(absl::StrCat(checkpoint.dir, ": the state's '", kBaseStepKey,
                                            "' is no step before its own"));
  }
  return std::optional<uint64_t>(base.get<uint64_t>());
}

// The tables of a model that may be a delta: those of the whole model it goes back to, then every
// delta up to it.
Status LoadTables(const Checkpoint& newest, Model& model) {
  std::vector<std::string> paths;
  for (Checkpoint at = newest;;) {
    GRAB_ASSIGN_OR_RETURN(paths.emplace_back(), at.Path(kTablesFile));
    GRAB_ASSIGN_OR_RETURN(const std::optional<uint64_t> base, ReadBaseStep(at));
    if (!base.has_value()) break;
    const std::string parent = newest.dir.substr(0, newest.dir.rfind('/'));
    StatusOr<Checkpoint> below = OpenCheckpoint(CheckpointPath(parent, *base));
    if (!below.ok()) return Annotate(below.status(), absl::StrCat(at.dir, " builds on it"));
    at = *std::move(below);
  }
  const std::vector<TableSpec>& specs = model.spec.tokens.tables;
  for (const TableSpec& table : specs) model.tables.emplace_back(TableOptions{.dim = table.dim});
  GRAB_RETURN_IF_ERROR(ReadTables(paths.back(), specs, model.tables));
  for (size_t i = paths.size() - 1; i-- > 0;) {
    GRAB_RETURN_IF_ERROR(ApplyTables(paths[i], specs, model.tables));
  }
  return absl::OkStatus();
}

// `path` itself, or the newest usable checkpoint in it.
StatusOr<Checkpoint> FindCheckpoint(const std::string& path, std::vector<std::string>& skipped) {
  if (Exists(JoinPath(path, kSpecFile))) return OpenCheckpoint(path);
  return OpenLatestCheckpoint(path, skipped);
}

}  // namespace

Status WriteSpec(const ModelSpec& spec, const std::string& path) {
  return WriteFileDurably(path, spec.ToJson().dump(1) + "\n");
}

StatusOr<ModelSpec> ReadSpec(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kSpecBytesMax));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::DataLossError(absl::StrCat(path, ": is not JSON"));
  StatusOr<ModelSpec> spec = ModelSpec::FromJson(json);
  if (!spec.ok()) return Annotate(spec.status(), path);
  return spec;
}

ModelView ViewOf(const Model& model) {
  ModelView view = {model.spec, {}, model.tables};
  for (const auto& [name, values] : model.weights) view.weights[name] = values.data();
  return view;
}

StatusOr<LoadedModel> LoadDense(const std::string& path) {
  LoadedModel loaded;
  GRAB_ASSIGN_OR_RETURN(const Checkpoint checkpoint, FindCheckpoint(path, loaded.skipped));
  loaded.step = checkpoint.step;
  loaded.dir = checkpoint.dir;
  GRAB_ASSIGN_OR_RETURN(loaded.precision, ReadPrecision(checkpoint));
  Model& model = loaded.model;
  GRAB_ASSIGN_OR_RETURN(const std::string spec_path, checkpoint.Path(kSpecFile));
  GRAB_ASSIGN_OR_RETURN(const std::string weights_path, checkpoint.Path(kWeightsFile));
  GRAB_ASSIGN_OR_RETURN(loaded.tables_path, checkpoint.Path(kTablesFile));
  GRAB_ASSIGN_OR_RETURN(model.spec, ReadSpec(spec_path));
  GRAB_RETURN_IF_ERROR(ReadWeights(weights_path, model));
  return loaded;
}

StatusOr<LoadedModel> LoadModel(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(LoadedModel loaded, LoadDense(path));
  if (!IsServed(loaded.model.spec.kind)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a model of kind '",
                                                   ModelKindName(loaded.model.spec.kind),
                                                   "', which only grab train trains and scores"));
  }
  GRAB_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                        OpenCheckpoint(loaded.dir, CheckpointCheck::kSizes));
  GRAB_RETURN_IF_ERROR(LoadTables(checkpoint, loaded.model));
  return loaded;
}

StatusOr<std::string> ExportModel(const ModelView& model, uint64_t step, Precision precision,
                                  const std::string& dir) {
  return WriteModel(model, step, TableRows::kAll, {{kPrecisionKey, PrecisionName(precision)}}, dir);
}

StatusOr<std::string> ExportDelta(const ModelView& model, uint64_t step, uint64_t base_step,
                                  const std::string& dir) {
  return WriteModel(model, step, TableRows::kChanged,
                    {{kPrecisionKey, PrecisionName(Precision::kF32)}, {kBaseStepKey, base_step}},
                    dir);
}

StatusOr<std::optional<uint64_t>> BaseStepOf(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(path, CheckpointCheck::kSizes));
  return ReadBaseStep(checkpoint);
}

}  // namespace grab
