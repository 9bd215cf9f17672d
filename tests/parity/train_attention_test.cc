// The attention of the zoo against loops in f64: products of heads and their gradients, and DIN's
// unit as the paper writes it, which is computed in parts.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "support/net_weights.h"
#include "support/random_model.h"
#include "support/random_world.h"
#include "train/dense.h"
#include "train/history_search.h"
#include "train/target_attention.h"

namespace grab {
namespace {

torch::Tensor Normals(Rng& rng, std::vector<int64_t> shape, torch::ScalarType type) {
  torch::Tensor x = torch::empty(shape, torch::kFloat64);
  double* value = x.data_ptr<double>();
  for (int64_t i = 0; i < x.numel(); ++i) value[i] = rng.Normal();
  return x.to(type);
}

// A matrix that is some columns of a wider one, as the parts of one projection are.
torch::Tensor Columns(Rng& rng, int64_t rows, int64_t width) {
  return Normals(rng, {rows, width + 3}, torch::kFloat32).narrow(1, 2, width);
}

// f32 sums of n terms of order 1.
void ExpectNear(const torch::Tensor& found, const torch::Tensor& expected, int64_t n,
                const char* what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  if (found.numel() == 0) return;
  const double tolerance =
      2e-6 * std::sqrt(static_cast<double>(n)) * std::max(1.0, expected.abs().max().item<double>());
  EXPECT_LE((found.to(torch::kFloat64) - expected).abs().max().item<double>(), tolerance) << what;
}

struct HeadCase {
  int64_t heads, width, queries, keys;
};

// sum over c of a[h][i][c] b[h][j][c], in f64: a product of heads or one of its gradients.
torch::Tensor Naive(int64_t heads, int64_t rows, int64_t columns, int64_t n, const auto& a,
                    const auto& b) {
  torch::Tensor out = torch::zeros({heads, rows, columns}, torch::kFloat64);
  auto to = out.accessor<double, 3>();
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        for (int64_t c = 0; c < n; ++c) to[h][i][j] += a(h, i, c) * b(h, j, c);
      }
    }
  }
  return out;
}

void CheckHeads(const HeadCase& s, uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << s.heads << " heads of " << s.width << ", " << s.queries
                                    << " queries, " << s.keys << " keys, seed " << seed);
  Rng rng(seed);
  const int64_t d = s.heads * s.width;
  const torch::Tensor q = Columns(rng, s.queries, d).requires_grad_();
  const torch::Tensor k = Columns(rng, s.keys, d).requires_grad_();
  const torch::Tensor weight =
      Normals(rng, {s.heads, s.queries, s.keys}, torch::kFloat32).requires_grad_();
  const torch::Tensor d_products = Normals(rng, {s.heads, s.queries, s.keys}, torch::kFloat32);
  const torch::Tensor d_sums = Columns(rng, s.queries, d);
  const auto of_head = [&](const torch::Tensor& x) {
    return
        [x = x.detach().to(torch::kFloat64), width = s.width](int64_t h, int64_t row, int64_t c) {
          return x.accessor<double, 2>()[row][h * width + c];
        };
  };
  const auto column_of_head = [&](const torch::Tensor& x) {
    return [of = of_head(x)](int64_t h, int64_t c, int64_t row) { return of(h, row, c); };
  };
  const auto at = [](const torch::Tensor& x) {
    return [x = x.detach().to(torch::kFloat64)](int64_t h, int64_t i, int64_t j) {
      return x.accessor<double, 3>()[h][i][j];
    };
  };
  const auto turned = [&](const torch::Tensor& x) {
    return [of = at(x)](int64_t h, int64_t j, int64_t i) { return of(h, i, j); };
  };
  const auto beside = [&](const torch::Tensor& x) {
    return x.transpose(0, 1).reshape({x.size(1), d});
  };
  const torch::Tensor products = HeadProducts(q, k, s.heads);
  ExpectNear(products.detach(), Naive(s.heads, s.queries, s.keys, s.width, of_head(q), of_head(k)),
             s.width, "products");
  const auto d_qk = torch::autograd::grad({products}, {q, k}, {d_products});
  ExpectNear(d_qk[0],
             beside(Naive(s.heads, s.queries, s.width, s.keys, at(d_products), column_of_head(k))),
             s.keys, "d_q");
  ExpectNear(
      d_qk[1],
      beside(Naive(s.heads, s.keys, s.width, s.queries, turned(d_products), column_of_head(q))),
      s.queries, "d_k");
  const torch::Tensor sums = HeadSums(weight, k);
  ExpectNear(sums.detach(),
             beside(Naive(s.heads, s.queries, s.width, s.keys, at(weight), column_of_head(k))),
             s.keys, "sums");
  const auto d_wv = torch::autograd::grad({sums}, {weight, k}, {d_sums});
  ExpectNear(d_wv[0], Naive(s.heads, s.queries, s.keys, s.width, of_head(d_sums), of_head(k)),
             s.width, "d_weight");
  ExpectNear(
      d_wv[1],
      beside(Naive(s.heads, s.keys, s.width, s.queries, turned(weight), column_of_head(d_sums))),
      s.queries, "d_v");
}

// Heads narrower than a vector register, as wide and in between; one key and none; no columns at
// all.
TEST(HeadProducts, AndSumsEqualTheFormulas) {
  uint64_t seed = 0;
  for (const int64_t heads : {1, 2, 4}) {
    for (const int64_t width : {0, 1, 5, 16}) {
      for (const auto& [queries, keys] :
           std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {3, 0}, {1, 1}, {7, 33}, {65, 40}}) {
        CheckHeads({heads, width, queries, keys}, ++seed);
      }
    }
  }
}

// Section 4.3 of the paper: the hidden layer reads [q, k, q - k, q * k].
torch::Tensor NaiveUnit(const NetWeights& w, const HistoryPairs& pairs, const torch::Tensor& full,
                        const torch::Tensor& partial) {
  const int64_t d = full.size(1);
  const auto of = [](const torch::Tensor& x) { return x.detach().to(torch::kFloat64); };
  const torch::Tensor hidden = of(w["recent.hidden.weight"]), bias = of(w["recent.hidden.bias"]);
  const torch::Tensor out = of(w["recent.out.weight"])[0], time = of(w["recent.time"][0]);
  torch::Tensor sum = torch::zeros_like(of(full));
  for (int64_t i = 0; i < pairs.size(); ++i) {
    const auto p = static_cast<size_t>(i);
    const torch::Tensor q = of(full)[pairs.candidate[p]];
    const torch::Tensor k = of(partial)[pairs.event[p]] + time[pairs.time_bucket[p]];
    double weight = of(w["recent.out.bias"])[0].item<double>();
    for (int64_t h = 0; h < hidden.size(0); ++h) {
      double x = bias[h].item<double>();
      for (int64_t c = 0; c < d; ++c) {
        const double a = q[c].item<double>(), b = k[c].item<double>();
        const double parts[] = {a, b, a - b, a * b};
        for (int64_t part = 0; part < 4; ++part) {
          x += hidden[h][part * d + c].item<double>() * parts[part];
        }
      }
      weight += out[h].item<double>() * 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    }
    sum[pairs.candidate[p]] += weight * k;
  }
  return sum;
}

void CheckUnit(const Batch& batch, const Model& model, torch::ScalarType type, uint64_t seed) {
  const ModelSpec& spec = model.spec;
  const Net net(spec, 1, type);
  testing::CopyWeights(model, net);
  Rng rng(seed);
  const torch::Tensor full = Normals(rng, {batch.full.rows, spec.d_model}, type).requires_grad_();
  const torch::Tensor partial = Normals(rng, {batch.partial.rows, spec.d_model}, type);
  const BatchLookup lookup = Lookup(spec.tokens).Find(batch, model.tables);
  const torch::Tensor inputs =
      TargetAttention(spec, net.w(), Precision::kF32, batch, lookup, {{}, full}, {{}, partial})
          .inputs;
  const torch::Tensor found = inputs.narrow(1, spec.d_model, spec.d_model);
  found.sum().backward();
  EXPECT_TRUE(torch::isfinite(full.grad()).all().item<bool>());
  const torch::Tensor expected = NaiveUnit(net.w(), NewestEvents(spec, batch), full, partial);
  // Sums of 4 d and of ffn_hidden terms, then over two events.
  const double tolerance = type == torch::kFloat64 ? 1e-12 : 2e-5;
  const torch::Tensor off = found.detach().to(torch::kFloat64) - expected;
  EXPECT_LE(off.abs().max().item<double>(),
            tolerance * std::max(1.0, expected.abs().max().item<double>()));
}

// Users with histories, and a batch in which no candidate has one.
TEST(Din, UnitEqualsThePapers) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kDin, seed);
    for (const int events : {1, 15}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << ", events " << events);
      const Batch batch = testing::PackAll(
          model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, 12, events));
      ASSERT_GT(batch.full.rows, 0u);
      if (events == 1) {
        ASSERT_EQ(NewestEvents(model.spec, batch).size(), 0);
      } else {
        ASSERT_GT(NewestEvents(model.spec, batch).size(), 20);
      }
      for (const torch::ScalarType type : {torch::kFloat64, torch::kFloat32}) {
        CheckUnit(batch, model, type, seed);
      }
    }
  }
}

}  // namespace
}  // namespace grab
