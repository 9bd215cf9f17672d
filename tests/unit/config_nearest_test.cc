#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/nearest.h"

namespace grab {
namespace {

// Distances counted by hand; a swap of neighbours is one edit.
TEST(EditDistance, HandCounted) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("layers", "layres"), 1u);
  EXPECT_EQ(EditDistance("heads", "head"), 1u);
  EXPECT_EQ(EditDistance("dim", "dim"), 0u);
  EXPECT_EQ(EditDistance("a", "b"), 1u);
  EXPECT_EQ(EditDistance("saturday", "sunday"), 3u);
}

TEST(Nearest, TakesTheClosestWithinReach) {
  const std::vector<std::string> keys = {"layers", "heads", "d_model", "ffn_hidden", "head_hidden"};
  EXPECT_EQ(Nearest("layer", keys), "layers");
  EXPECT_EQ(Nearest("dmodel", keys), "d_model");
  EXPECT_EQ(Nearest("ffn_hiden", keys), "ffn_hidden");
  EXPECT_EQ(Nearest("hed_hidden", keys), "head_hidden");
}

// One edit per three characters: a short or a quite different name suggests nothing.
TEST(Nearest, NothingWhenAllAreFar) {
  EXPECT_EQ(Nearest("temperature", {"layers", "heads"}), "");
  EXPECT_EQ(Nearest("xyz", {"abc"}), "");
  EXPECT_EQ(Nearest("x", {}), "");
  EXPECT_EQ(Nearest(std::string(100000, 'a'), {"a"}), "");
}

TEST(Nearest, FirstAmongEquals) { EXPECT_EQ(Nearest("rows", {"bows", "cows"}), "bows"); }

}  // namespace
}  // namespace grab
