// A model as it is served: its description, dense weights by name, and embedding tables without
// optimiser state.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "embedding/table.h"
#include "model/spec.h"

namespace grab {

struct Model {
  ModelSpec spec;
  std::map<std::string, std::vector<float>> weights;  // as ModelSpec::Weights() lists them
  std::vector<EmbeddingTable> tables;                 // one per spec.tokens.tables
};

}  // namespace grab
