#include "ranking/served_model.h"

#include <chrono>

namespace grab {

StatusOr<std::shared_ptr<const ServedModel>> MakeServedModel(LoadedModel loaded) {
  if (!IsServed(loaded.model.spec.kind)) {
    return absl::InvalidArgumentError(absl::StrCat(
        loaded.dir, ": expected a dlrm or a grab, got a ", ModelKindName(loaded.model.spec.kind),
        ", which is trained for comparison only"));
  }
  auto served = std::make_shared<ServedModel>();
  served->loaded = std::move(loaded);
  GRAB_ASSIGN_OR_RETURN(served->packed,
                        PackedModel::Create(served->loaded.model, served->loaded.precision));
  served->loaded_unix_s =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return std::shared_ptr<const ServedModel>(std::move(served));
}

StatusOr<std::shared_ptr<const ServedModel>> LoadServedModel(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(path));
  return MakeServedModel(std::move(loaded));
}

}  // namespace grab
