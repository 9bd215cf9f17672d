// A model on disk: three files of a checkpoint folder (checkpoint.h, docs/formats/checkpoint.md). A
// training checkpoint has optimiser state in the same files; an exported model is the same thing
// without it, so whatever reads one reads the other.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model.h"
#include "model/packed_model.h"

namespace grab {

inline constexpr char kSpecFile[] = "spec.json";
inline constexpr char kWeightsFile[] = "weights.safetensors";
inline constexpr char kTablesFile[] = "tables.safetensors";

Status WriteSpec(const ModelSpec& spec, const std::string& path);
StatusOr<ModelSpec> ReadSpec(const std::string& path);

struct LoadedModel {
  Model model;
  uint64_t step = 0;                      // optimiser steps it was trained for
  Precision precision = Precision::kF32;  // it is to be served in
  std::string dir;                        // the checkpoint folder it was read from
  std::string tables_path;                // in it
  std::vector<std::string> skipped;       // newer ones that are damaged, each with the reason
};

// From a checkpoint folder, or the newest usable one in a folder of them; optimiser state is left
// behind. Refused: a manifest, checksum, spec, tensor name, shape or value that is not right.
StatusOr<LoadedModel> LoadModel(const std::string& path);

// As LoadModel, without the tables.
StatusOr<LoadedModel> LoadDense(const std::string& path);

// A model where it lies, in training or loaded.
struct ModelView {
  const ModelSpec& spec;
  std::map<std::string, const float*> weights;  // those of spec.Weights() are taken
  const std::vector<EmbeddingTable>& tables;
};
ModelView ViewOf(const Model& model);

// Writes DIR/step-<step> with the model alone, in f32, and the precision it is to be served in;
// returns its path. One that is there already is an AlreadyExists.
StatusOr<std::string> ExportModel(const ModelView& model, uint64_t step, Precision precision,
                                  const std::string& dir);

// As ExportModel, but of the tables only what changed since the model of `base_step`, which must
// lie in `dir` (checkpoint/tables.h, TableRows::kChanged). Whoever loads it loads what it builds on
// first, from the same folder.
StatusOr<std::string> ExportDelta(const ModelView& model, uint64_t step, uint64_t base_step,
                                  const std::string& dir);

// The step that the model in folder `path` builds on; nullopt: it is whole.
StatusOr<std::optional<uint64_t>> BaseStepOf(const std::string& path);

}  // namespace grab
