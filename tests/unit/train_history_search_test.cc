// What searches find against a naive one: every visible event of a candidate is scored and sorted,
// by value and then newest first. Random worlds with ties in time, late feedback, missing ids.
#include <gtest/gtest.h>

#include "support/random_model.h"
#include "support/random_world.h"
#include "train/history_search.h"

namespace grab {
namespace {

struct Case {
  explicit Case(uint64_t seed, ModelKind kind = ModelKind::kSim) {
    Config config = testing::MakeConfig();
    config.sim.model.search.field = "ad";
    model = testing::MakeModel(config, kind, seed);
    batch = testing::PackAll(model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, 6, 25));
    lookup = Lookup(model.spec.tokens).Find(batch, model.tables);
  }
  Model model;
  Batch batch;
  BatchLookup lookup;
};

using Score = std::function<std::optional<double>(size_t candidate, int32_t row)>;

// Per candidate the events of its `count` best rows; nullopt: never found.
std::vector<std::vector<int64_t>> Naive(const Batch& batch, int64_t count, const Score& score) {
  const ChannelBatch& channel = batch.channels[0];
  std::vector<std::vector<int64_t>> found(batch.full.rows);
  for (size_t f = 0; f < found.size(); ++f) {
    std::vector<std::pair<double, int32_t>> rows;
    for (int32_t row = channel.full_begin[f]; row < channel.full_end[f]; ++row) {
      if (const auto value = score(f, row)) rows.emplace_back(*value, row);
    }
    std::sort(rows.rbegin(), rows.rend());
    if (static_cast<int64_t>(rows.size()) > count) rows.resize(static_cast<size_t>(count));
    for (const auto& [value, row] : rows) {
      found[f].push_back(channel.token[static_cast<size_t>(row)]);
    }
    std::sort(found[f].begin(), found[f].end());
  }
  return found;
}

std::vector<std::vector<int64_t>> ByCandidate(const Batch& batch, const HistoryPairs& pairs) {
  std::vector<std::vector<int64_t>> found(batch.full.rows);
  for (size_t i = 0; i < pairs.candidate.size(); ++i) {
    found[static_cast<size_t>(pairs.candidate[i])].push_back(pairs.event[i]);
  }
  return found;
}

// Small integers, so that products are exact and often equal.
torch::Tensor Vectors(uint64_t seed, int64_t rows, int64_t width) {
  Rng rng(seed);
  torch::Tensor x = torch::empty({rows, width});
  for (int64_t i = 0; i < x.numel(); ++i) {
    x.data_ptr<float>()[i] = static_cast<float>(rng.Below(3)) - 1.0f;
  }
  return x;
}

double Dot(const torch::Tensor& a, int64_t i, const torch::Tensor& b, int64_t j) {
  return (a[i] * b[j]).sum().item<double>();
}

TEST(HistorySearch, Newest) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Case test(seed);
    const auto naive = Naive(test.batch, test.model.spec.search.recent,
                             [](size_t, int32_t row) { return std::optional<double>(row); });
    EXPECT_EQ(ByCandidate(test.batch, NewestEvents(test.model.spec, test.batch)), naive)
        << "seed " << seed;
  }
}

// By the keys themselves, which the search does not read; unknown ids (no row) match nothing.
TEST(HistorySearch, Sharing) {
  size_t pairs = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Case test(seed);
    const TokenSlot* slot = test.model.spec.tokens.FindSlot("ad");
    const auto keys_of = [&](const TokenColumns& view) {
      const auto at = std::find(view.slots.begin(), view.slots.end(),
                                static_cast<int>(slot - test.model.spec.tokens.slots.data()));
      const SlotColumn& column = view.columns[static_cast<size_t>(at - view.slots.begin())];
      std::vector<uint64_t> keys;
      for (uint32_t row = 0; row < view.rows; ++row) {
        const bool has = column.offsets[row + 1] > column.offsets[row];
        const uint64_t key = has ? column.keys[column.offsets[row]] : 0;
        const auto& table = test.model.tables[static_cast<size_t>(slot->table)];
        keys.push_back(key != 0 && table.Find(key) != EmbeddingTable::kUnknownRow ? key : 0);
      }
      return keys;
    };
    const std::vector<uint64_t> candidates = keys_of(test.batch.full);
    const std::vector<uint64_t> events = keys_of(test.batch.partial);
    const std::vector<uint32_t>& token = test.batch.channels[0].token;
    const auto naive = Naive(test.batch, test.model.spec.search.found,
                             [&](size_t f, int32_t row) -> std::optional<double> {
                               const uint64_t key = events[token[static_cast<size_t>(row)]];
                               if (key == 0 || key != candidates[f]) return std::nullopt;
                               return row;
                             });
    const HistoryPairs found = SharingEvents(test.model.spec, test.batch, test.lookup);
    EXPECT_EQ(ByCandidate(test.batch, found), naive) << "seed " << seed;
    pairs += found.candidate.size();
  }
  EXPECT_GT(pairs, 20u);
}

TEST(HistorySearch, LargestProductsAndLogits) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    const Case test(seed, ModelKind::kTwin);
    const ModelSpec& spec = test.model.spec;
    const int64_t width = 18;  // more than the lanes of the product, and not a multiple of them
    const torch::Tensor q = Vectors(seed, test.batch.full.rows, width);
    const torch::Tensor k = Vectors(seed + 100, test.batch.partial.rows, width);
    const std::vector<uint32_t>& token = test.batch.channels[0].token;
    const auto product = [&](size_t f, int32_t row) {
      return Dot(q, static_cast<int64_t>(f), k, token[static_cast<size_t>(row)]);
    };
    EXPECT_EQ(ByCandidate(test.batch, LargestProducts(spec, test.batch, q, k)),
              Naive(test.batch, spec.search.found, product));
    // A bias by feedback that outweighs every product.
    const torch::Tensor time = torch::zeros({spec.heads, spec.time_buckets, 1});
    torch::Tensor action = torch::zeros({spec.heads, spec.action_classes(), 1});
    action.select(1, 1).fill_(1000.0);
    const double scale =
        1.0 / (static_cast<double>(spec.heads) * std::sqrt(static_cast<double>(spec.head_width())));
    const auto logit = [&](size_t f, int32_t row) {
      const bool first = test.batch.channels[0].key_action[static_cast<size_t>(row)] == 1;
      return static_cast<float>(static_cast<float>(scale * product(f, row)) +
                                (first ? 1000.0f : 0.0f));
    };
    EXPECT_EQ(ByCandidate(test.batch, LargestLogits(spec, test.batch, q, k, time, action)),
              Naive(test.batch, spec.search.found, logit));
  }
}

// Events with the candidate's own embeddings differ in no bit, so nothing else is found before
// them.
TEST(HistorySearch, EqualEmbeddingsHaveEqualHashes) {
  const Case test(1, ModelKind::kEta);
  const ModelSpec& spec = test.model.spec;
  int64_t full_width = spec.tokens.FullWidth(), partial_width = spec.tokens.PartialWidth();
  torch::Tensor full = Vectors(1, test.batch.full.rows, full_width);
  torch::Tensor partial = Vectors(2, test.batch.partial.rows, partial_width);
  // The newest event that a candidate sees becomes its equal in what both have.
  const ChannelBatch& channel = test.batch.channels[0];
  for (int64_t f = 0; f < full.size(0); ++f) {
    const auto row = static_cast<size_t>(f);
    if (channel.full_end[row] - channel.full_begin[row] <= spec.search.found) continue;
    torch::Tensor twin = partial.clone();
    const uint32_t event = channel.token[static_cast<size_t>(channel.full_begin[row])];
    int64_t at_full = 0, at_partial = 0;
    for (const TokenSlot& slot : spec.tokens.slots) {
      if (slot.full && slot.partial) {
        twin[event].narrow(0, at_partial, slot.width).copy_(full[f].narrow(0, at_full, slot.width));
      }
      if (slot.full) at_full += slot.width;
      if (slot.partial) at_partial += slot.width;
    }
    const auto found = ByCandidate(test.batch, NearestHashes(spec, test.batch, full, twin));
    EXPECT_EQ(std::count(found[row].begin(), found[row].end(), event), 1) << "candidate " << f;
  }
}

}  // namespace
}  // namespace grab
