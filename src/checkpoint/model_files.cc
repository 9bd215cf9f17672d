#include "checkpoint/model_files.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"

namespace grab {
namespace {

constexpr uint64_t kSpecBytesMax = 64 << 20;
constexpr char kPrecisionKey[] = "precision";  // in the manifest's state

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

Status WriteWeights(const Model& model, const std::string& path) {
  SafetensorsWriter writer;
  for (const WeightSpec& weight : model.spec.Weights()) {
    GRAB_RETURN_IF_ERROR(
        writer.Add(weight.name, Dtype::kF32, weight.shape, model.weights.at(weight.name).data()));
  }
  return writer.Write(path);
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
  Model& model = loaded.model;
  for (const TableSpec& table : model.spec.tokens.tables) {
    model.tables.emplace_back(TableOptions{table.dim, SparseOptimiser::kNone, 0.0, 0});
  }
  GRAB_RETURN_IF_ERROR(ReadTables(loaded.tables_path, model.spec.tokens.tables, model.tables));
  return loaded;
}

StatusOr<std::string> ExportModel(const Model& model, uint64_t step, Precision precision,
                                  const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointWriter> writer,
                        CheckpointWriter::Begin(dir, step));
  GRAB_RETURN_IF_ERROR(WriteSpec(model.spec, writer->Path(kSpecFile)));
  GRAB_RETURN_IF_ERROR(WriteWeights(model, writer->Path(kWeightsFile)));
  GRAB_RETURN_IF_ERROR(
      WriteTables(model.spec.tokens.tables, model.tables, writer->Path(kTablesFile)));
  const nlohmann::json state = {{kPrecisionKey, PrecisionName(precision)}};
  GRAB_RETURN_IF_ERROR(writer->Commit(state.dump()));
  return writer->dir();
}

}  // namespace grab
