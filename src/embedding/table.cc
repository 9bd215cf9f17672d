#include "embedding/table.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace grab {
namespace {

uint32_t StateWidth(SparseOptimiser optimiser, uint32_t dim) {
  switch (optimiser) {
    case SparseOptimiser::kNone:
      return 0;
    case SparseOptimiser::kAdagrad:
      return 1;
    case SparseOptimiser::kAdam:
      return 2 * dim + 1;
  }
  GRAB_CHECK(false);
  return 0;
}

void AdagradStep(uint32_t dim, const float* gradient, float learning_rate, float* value,
                 float* state) {
  float squares = 0.0f;
  for (uint32_t d = 0; d < dim; ++d) squares += gradient[d] * gradient[d];
  state[0] += squares / static_cast<float>(dim);
  const float step = learning_rate / (std::sqrt(state[0]) + 1e-10f);
  for (uint32_t d = 0; d < dim; ++d) value[d] -= step * gradient[d];
}

// Adam whose bias correction counts the row's own steps, so that a rare row is not under-corrected.
void AdamStep(uint32_t dim, const float* gradient, float learning_rate, float* value,
              float* state) {
  constexpr float kBeta1 = 0.9f;
  constexpr float kBeta2 = 0.999f;
  float* first = state;
  float* second = state + dim;
  float& steps = state[2 * dim];
  steps += 1.0f;
  const float correct1 = 1.0f - std::pow(kBeta1, steps);
  const float correct2 = 1.0f - std::pow(kBeta2, steps);
  for (uint32_t d = 0; d < dim; ++d) {
    first[d] = kBeta1 * first[d] + (1.0f - kBeta1) * gradient[d];
    second[d] = kBeta2 * second[d] + (1.0f - kBeta2) * gradient[d] * gradient[d];
    value[d] -= learning_rate * (first[d] / correct1) / (std::sqrt(second[d] / correct2) + 1e-8f);
  }
}

}  // namespace

EmbeddingTable::EmbeddingTable(TableOptions options)
    : options_(options),
      state_width_(StateWidth(options.optimiser, options.dim)),
      stride_(options.dim + state_width_) {
  GRAB_CHECK(options.dim > 0);
  AddRow(0);
}

uint64_t EmbeddingTable::bytes() const {
  return chunks_.size() * kChunkRows * stride_ * sizeof(float) +
         keys_.capacity() * sizeof(uint64_t) +
         index_.capacity() * (sizeof(std::pair<uint64_t, uint32_t>) + 1);
}

uint32_t EmbeddingTable::Find(uint64_t key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? kUnknownRow : found->second;
}

uint32_t EmbeddingTable::FindOrInsert(uint64_t key) {
  GRAB_CHECK(key != 0);
  const auto [found, inserted] = index_.try_emplace(key, 0);
  if (inserted) found->second = AddRow(key);
  return found->second;
}

uint32_t EmbeddingTable::AddRow(uint64_t key) {
  GRAB_CHECK(keys_.size() < kRowsMax);
  const auto row = static_cast<uint32_t>(keys_.size());
  if (row % kChunkRows == 0) {
    chunks_.push_back(std::make_unique<float[]>(static_cast<size_t>(kChunkRows) * stride_));
  }
  keys_.push_back(key);
  Rng rng(options_.seed, key);
  float* value = Row(row);
  for (uint32_t d = 0; d < options_.dim; ++d) {
    value[d] = static_cast<float>(options_.init_std * rng.Normal());
  }
  return row;
}

void EmbeddingTable::Update(uint32_t row, const float* gradient, float learning_rate) {
  float* value = Row(row);
  float* row_state = value + options_.dim;
  switch (options_.optimiser) {
    case SparseOptimiser::kAdagrad:
      return AdagradStep(options_.dim, gradient, learning_rate, value, row_state);
    case SparseOptimiser::kAdam:
      return AdamStep(options_.dim, gradient, learning_rate, value, row_state);
    case SparseOptimiser::kNone:
      GRAB_CHECK_MSG(false, "a table without optimiser state cannot be trained");
  }
}

}  // namespace grab
