// Packed weights of a model: names of precisions, what is refused, memory; and embeddings of one
// token.
#include <gtest/gtest.h>

#include "embedding/lookup.h"
#include "embedding/pool_row.h"
#include "kernels/embedding_pool.h"
#include "model/packed_model.h"
#include "support/random_model.h"

namespace grab {
namespace {

using testing::MakeConfig;
using testing::MakeModel;

TEST(PackedModel, PrecisionNamesRoundTrip) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(*ParsePrecision(PrecisionName(precision)), precision);
  }
  EXPECT_FALSE(ParsePrecision("fp16").ok());
  EXPECT_FALSE(ParsePrecision("").ok());
}

TEST(PackedModel, LowerPrecisionsTakeLess) {
  Config config = MakeConfig();
  config.grab.model.d_model = 64;
  config.grab.model.ffn_hidden = 128;
  const Model model = MakeModel(config, ModelKind::kGrab, 1);
  size_t dense = 0;
  for (const WeightSpec& weight : model.spec.Weights()) {
    if (weight.shape.size() == 2) dense += static_cast<size_t>(weight.elements()) * sizeof(float);
  }
  const size_t f32 = (*PackedModel::Create(model, Precision::kF32))->bytes();
  const size_t bf16 = (*PackedModel::Create(model, Precision::kBf16))->bytes();
  const size_t int8 = (*PackedModel::Create(model, Precision::kInt8))->bytes();
  EXPECT_GE(f32, dense);
  EXPECT_LT(bf16, f32 * 3 / 4);
  EXPECT_LT(int8, bf16);
}

TEST(PackedModel, RefusesWhatTheKernelsCannotHold) {
  Config config = MakeConfig();
  config.grab.model.heads = 1;
  config.grab.model.d_model = kHeadWidthMax + 1;
  config.grab.model.layers = 1;
  config.grab.model.channels.resize(1);
  const Model wide_heads = MakeModel(config, ModelKind::kGrab, 1);
  EXPECT_EQ(PackedModel::Create(wide_heads, Precision::kF32).status().code(),
            absl::StatusCode::kInvalidArgument);
  Model wide_layer = MakeModel(MakeConfig(), ModelKind::kDlrm, 1);
  wide_layer.spec.tokenizer_hidden = kLinearWidthMax + 1;
  EXPECT_EQ(PackedModel::Create(wide_layer, Precision::kF32).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// To the bit, against unique rows and EmbeddingPoolForward.
TEST(PoolRow, EqualsLookupAndPool) {
  const Model model = MakeModel(MakeConfig(), ModelKind::kDlrm, 2);
  const UserBlock block = testing::MakeBlock(model.spec.tokens.schema, 3, 5, 30);
  const Batch batch = testing::PackAll(model.spec, block);
  Lookup lookup(model.spec.tokens);
  const BatchLookup found = lookup.Find(batch, model.tables);
  const TokenColumns& view = batch.full;
  const auto width = static_cast<int64_t>(model.spec.tokens.FullWidth());
  ASSERT_GT(view.rows, 20u);
  for (uint32_t row = 0; row < view.rows; ++row) {
    std::vector<float> pooled(static_cast<size_t>(width));
    PoolRow(model.spec.tokens, model.tables, view, row, pooled.data());
    int64_t at = 0;
    for (size_t c = 0; c < view.columns.size(); ++c) {
      const TokenSlot& slot = model.spec.tokens.slots[static_cast<size_t>(view.slots[c])];
      std::vector<float> expected(slot.width);
      if (slot.table < 0) {
        const float* dense = view.columns[c].dense.data() + row * slot.width;
        expected.assign(dense, dense + slot.width);
      } else {
        const auto t = static_cast<size_t>(slot.table);
        std::vector<float> rows;
        for (const uint32_t unique : found.unique_rows[t]) {
          rows.resize(rows.size() + slot.width);
          model.tables[t].Read(unique, rows.data() + rows.size() - slot.width);
        }
        EmbeddingPoolForward<float>({1, view.columns[c].offsets.data() + row,
                                     found.full_index[c].data(), view.columns[c].weights.data()},
                                    rows.data(), slot.width, expected.data(), slot.width);
      }
      for (uint32_t d = 0; d < slot.width; ++d) {
        // The batch kernel rounds once per product and sum, this one twice: a few 6e-8 of order 1.
        ASSERT_NEAR(pooled[static_cast<size_t>(at + d)], expected[d], 1e-6)
            << slot.name << " row " << row;
      }
      at += slot.width;
    }
    ASSERT_EQ(at, width);
  }
}

}  // namespace
}  // namespace grab
