// A model as the server holds it: loaded and packed. Immutable; shared by the workers, and freed
// when the last of them has moved on.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "checkpoint/model_files.h"
#include "model/packed_model.h"

namespace grab {

struct ServedModel {
  LoadedModel loaded;
  std::unique_ptr<PackedModel> packed;  // of loaded.model
  double loaded_unix_s = 0.0;

  const ModelSpec& spec() const { return loaded.model.spec; }
};

// Loads as LoadModel does. InvalidArgument: a kind of model that is not served.
StatusOr<std::shared_ptr<const ServedModel>> LoadServedModel(const std::string& path);
// The same of a model in memory, in `precision`.
StatusOr<std::shared_ptr<const ServedModel>> MakeServedModel(LoadedModel loaded);

}  // namespace grab
