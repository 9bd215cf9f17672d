// Whether shards and a model belong together.
#pragma once

#include <string>

#include "data/shard.h"
#include "model/spec.h"

namespace grab {

// InvalidArgument, naming both, unless the shards hold what the model in `model_dir` reads.
inline Status CheckSchema(const ShardSet& shards, const ModelSpec& spec,
                          const std::string& model_dir) {
  if (shards.schema() == spec.tokens.schema) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(shards.dir(), ": its fields, actions or tasks are not those that ", model_dir,
                   " was trained on"));
}

}  // namespace grab
