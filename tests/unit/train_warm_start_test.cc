// What a warm start takes from a DLRM, from the same model and from a model with other fields and
// widths, tensor by tensor and row by row, and what its report says, also of a source that fits in
// nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/base_temp_dir.h"
#include "support/random_world.h"
#include "train/warm_start.h"

namespace grab {
namespace {

struct TrainedRun {
  TrainedRun(const Config& config, ModelKind kind)
      : train(kind == ModelKind::kGrab ? config.grab.train : config.dlrm.train),
        spec(*ModelSpec::FromConfig(config, kind, *Schema::FromConfig(config))),
        state(spec, train) {}

  // Rows for keys 1 .. 30 with optimiser state that tells them apart.
  void Fill() {
    for (EmbeddingTable& table : state.tables) {
      std::vector<float> gradient(table.dim(), 0.5f);
      for (uint64_t key = 1; key <= 30; ++key) {
        table.Update(table.FindOrInsert(key), gradient.data(), 0.1f * static_cast<float>(key));
      }
    }
  }
  torch::Tensor W(const std::string& name) const { return state.net.w()[name]; }

  TrainConfig train;
  ModelSpec spec;
  RunState state;
};

Config GrabConfig() {
  Config config = testing::MakeConfig();
  config.grab.model.channels.resize(1);
  config.grab.train.table_init_std = 0.3;
  config.dlrm.train.table_init_std = 0.3;
  config.grab.train.dual_loss.weight = 1.0;
  return config;
}

std::vector<float> Values(const EmbeddingTable& table, uint32_t row) {
  std::vector<float> values(table.dim());
  table.Read(row, values.data());
  return values;
}

bool Contains(const std::vector<std::string>& list, const std::string& start) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& text) { return text.rfind(start, 0) == 0; });
}

class WarmStartTest : public ::testing::Test {
 protected:
  std::string Save(TrainedRun& run) {
    run.Fill();
    const std::string path = dir_.File("source");
    EXPECT_TRUE(SaveRunState(run.state, run.spec, path, 1).ok());
    return path;
  }
  const TempDir dir_;
};

TEST_F(WarmStartTest, TakesTablesRepresentationAndHeadOfADlrm) {
  const Config config = GrabConfig();
  TrainedRun dlrm(config, ModelKind::kDlrm);
  const std::string path = Save(dlrm);
  TrainedRun grab(config, ModelKind::kGrab);
  const torch::Tensor head = grab.W("head.0.weight").clone();
  const auto report = WarmStart(path, grab.spec, grab.state);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(
      torch::equal(grab.W("tokenizer.full.hidden.weight"), dlrm.W("tokenizer.full.hidden.weight")));
  EXPECT_TRUE(torch::equal(grab.W("base.0.weight"), dlrm.W("head.0.weight")));
  EXPECT_TRUE(torch::equal(grab.W("head.0.weight"), head)) << "GRAB's head reads another vector";
  for (size_t t = 0; t < grab.state.tables.size(); ++t) {
    const EmbeddingTable& to = grab.state.tables[t];
    const std::string& name = grab.spec.tokens.tables[t].name;
    size_t s = 0;
    while (s < dlrm.spec.tokens.tables.size() && dlrm.spec.tokens.tables[s].name != name) ++s;
    if (s == dlrm.spec.tokens.tables.size()) {
      EXPECT_TRUE(Contains(report->missing, "table " + name));
      continue;
    }
    const EmbeddingTable& from = dlrm.state.tables[s];
    EXPECT_TRUE(Contains(report->loaded, "table " + name));
    for (uint64_t key = 1; key <= 30; ++key) {
      const uint32_t a = from.Find(key), b = to.Find(key);
      ASSERT_NE(b, EmbeddingTable::kUnknownRow);
      for (uint32_t d = 0; d < from.dim(); ++d) {
        ASSERT_EQ(Values(from, a)[d], Values(to, b)[d]) << name << " key " << key;
      }
      ASSERT_EQ(from.state(a)[0], to.state(b)[0]) << name << " key " << key;
    }
  }
  EXPECT_TRUE(Contains(report->loaded, "base.0.weight (from head.0.weight)"));
  EXPECT_TRUE(Contains(report->resized, "tokenizer.partial.hidden.weight (from tokenizer.full"));
  EXPECT_TRUE(Contains(report->missing, "channel.0.layer.0.attention.qkv.weight"));
}

// The partial tokenizer's columns of slots that the DLRM's full token has are its, the others new.
TEST_F(WarmStartTest, MatchesTokenizersSlotBySlot) {
  const Config config = GrabConfig();
  TrainedRun dlrm(config, ModelKind::kDlrm);
  const std::string path = Save(dlrm);
  TrainedRun grab(config, ModelKind::kGrab);
  const torch::Tensor before = grab.W("tokenizer.partial.hidden.weight").clone();
  ASSERT_TRUE(WarmStart(path, grab.spec, grab.state).ok());
  const torch::Tensor source = dlrm.W("tokenizer.full.hidden.weight");
  const torch::Tensor to = grab.W("tokenizer.partial.hidden.weight");
  int64_t at = 0;
  size_t shared = 0, fresh = 0;
  for (const TokenSlot& slot : grab.spec.tokens.slots) {
    if (!slot.partial) continue;
    int64_t from = 0;
    bool found = false;
    for (const TokenSlot& other : dlrm.spec.tokens.slots) {
      if (!other.full) continue;
      found = other.name == slot.name;
      if (found) break;
      from += other.width;
    }
    const torch::Tensor columns = to.narrow(1, at, slot.width);
    EXPECT_TRUE(torch::equal(
        columns, found ? source.narrow(1, from, slot.width) : before.narrow(1, at, slot.width)))
        << slot.name;
    ++(found ? shared : fresh);
    at += slot.width;
  }
  EXPECT_GT(shared, 2u);
  EXPECT_GT(fresh, 0u);
}

TEST_F(WarmStartTest, TheSameModelComesOverWhole) {
  Config config = GrabConfig();
  TrainedRun source(config, ModelKind::kGrab);
  const std::string path = Save(source);
  config.grab.train.seed = 99;
  TrainedRun grab(config, ModelKind::kGrab);
  const auto report = WarmStart(path, grab.spec, grab.state);
  ASSERT_TRUE(report.ok()) << report.status();
  for (const WeightSpec& weight : grab.spec.Weights()) {
    EXPECT_TRUE(torch::equal(grab.W(weight.name), source.W(weight.name))) << weight.name;
    EXPECT_TRUE(Contains(report->loaded, weight.name)) << weight.name;
  }
  EXPECT_TRUE(report->resized.empty());
  EXPECT_TRUE(report->unused.empty());
  // The base head is of the run, not of the model that is saved for serving.
  EXPECT_TRUE(Contains(report->missing, "base.0.weight"));
}

TEST_F(WarmStartTest, OtherWidthsComeOverInPart) {
  Config config = GrabConfig();
  TrainedRun source(config, ModelKind::kGrab);
  const std::string path = Save(source);
  config.grab.model.embedding_dim = 6;
  config.grab.model.ffn_hidden = 5;
  config.fields.pop_back();
  TrainedRun grab(config, ModelKind::kGrab);
  const auto report = WarmStart(path, grab.spec, grab.state);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(Contains(report->resized, "table ad: 4 columns of 6"));
  EXPECT_TRUE(Contains(report->resized, "tokenizer.full.hidden.weight"));
  EXPECT_TRUE(Contains(report->missing, "channel.0.layer.0.ffn.hidden.weight (the source's has"));
  EXPECT_TRUE(Contains(report->unused, "table ad_x_hour"));
  for (size_t t = 0; t < grab.state.tables.size(); ++t) {
    if (grab.spec.tokens.tables[t].name != "ad") continue;
    const EmbeddingTable& to = grab.state.tables[t];
    const EmbeddingTable& from = source.state.tables[t];
    for (uint64_t key = 1; key <= 30; ++key) {
      for (uint32_t d = 0; d < 4; ++d) {
        ASSERT_EQ(Values(to, to.Find(key))[d], Values(from, from.Find(key))[d]);
      }
    }
  }
}

TEST_F(WarmStartTest, AMissingSourceIsAnError) {
  const Config config = GrabConfig();
  TrainedRun grab(config, ModelKind::kGrab);
  EXPECT_EQ(WarmStart(dir_.File("nothing"), grab.spec, grab.state).status().code(),
            absl::StatusCode::kNotFound);
}

// A source of another world shares nothing but the table of actions, and the report says so.
TEST_F(WarmStartTest, WhatDoesNotFitIsReported) {
  const Config config = GrabConfig();
  TrainedRun grab(config, ModelKind::kGrab);
  Config other;
  other.name = "other";
  other.fields = {testing::MakeField("x", "id", "item")};
  other.actions = {{"click", ""}};
  other.tasks = {{"click", "", 1.0}};
  other.dlrm.model.embedding_dim = 4;
  other.dlrm.model.tokenizer_hidden = 3;
  other.dlrm.model.d_model = 2;
  other.dlrm.model.head_hidden = {3};
  TrainedRun source(other, ModelKind::kDlrm);
  const auto report = WarmStart(Save(source), grab.spec, grab.state);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->loaded.size(), 1u);
  EXPECT_TRUE(Contains(report->loaded, "table @actions"));
  EXPECT_TRUE(report->resized.empty());
  EXPECT_TRUE(Contains(report->missing, "tokenizer.full.hidden.weight"));
  EXPECT_TRUE(Contains(report->unused, "table x"));
}

}  // namespace
}  // namespace grab
