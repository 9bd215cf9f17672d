// The attention of the zoo against loops in f64: products of heads and their gradients, DIN's unit
// as the paper writes it, which is computed in parts, HSTU and SIM's soft read pair by pair, which
// are in tiles, and the attention over found events candidate by candidate.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/rab_buckets.h"
#include "support/net_weights.h"
#include "support/random_model.h"
#include "support/random_world.h"
#include "train/dense.h"
#include "train/history_search.h"
#include "train/hstu.h"
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

// A net of the model's weights and random tokens for it.
struct NetAndTokens {
  NetAndTokens(const Batch& batch, const Model& model, torch::ScalarType type, uint64_t seed)
      : net(model.spec, 1, type) {
    testing::CopyWeights(model, net);
    Rng rng(seed);
    full = Normals(rng, {batch.full.rows, model.spec.d_model}, type);
    partial = Normals(rng, {batch.partial.rows, model.spec.d_model}, type);
  }
  Net net;
  torch::Tensor full, partial;
};

void CheckUnit(const Batch& batch, const Model& model, torch::ScalarType type, uint64_t seed) {
  const ModelSpec& spec = model.spec;
  const auto [net, full, partial] = NetAndTokens(batch, model, type, seed);
  full.requires_grad_();
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

// The weights of a net in f64, and its smallest parts as formulas.
class NaiveParts {
 public:
  explicit NaiveParts(const NetWeights& w) : w_(w) {}
  torch::Tensor Of(const std::string& name) const { return w_[name].detach().to(torch::kFloat64); }
  torch::Tensor Linear(const std::string& name, const torch::Tensor& x) const {
    return torch::matmul(x, Of(name + ".weight").t()) + Of(name + ".bias");
  }
  torch::Tensor Norm(const std::string& name, const torch::Tensor& x) const {
    const torch::Tensor off = x - x.mean(1, true);
    const torch::Tensor variance = (off * off).mean(1, true);
    return off / torch::sqrt(variance + 1e-5) * Of(name + ".scale") + Of(name + ".shift");
  }

 private:
  const NetWeights& w_;
};

// HSTU pair by pair, as section 3 of its paper writes it.
class NaiveHstu {
 public:
  NaiveHstu(const ModelSpec& spec, const NetWeights& w, const Batch& batch, int64_t window_len)
      : spec_(spec),
        parts_(w),
        batch_(batch),
        rows_(batch.channels[0]),
        window_len_(window_len),
        position_(PositionBuckets(spec.position_buckets, window_len)),
        bounds_ms_(TimeBoundsMs(spec.time_buckets, spec.time_max_s)) {}

  // Over the channel's partial rows, then the full ones.
  torch::Tensor Run(const torch::Tensor& full, const torch::Tensor& partial) const {
    std::vector<torch::Tensor> tokens;
    for (const uint32_t token : rows_.token) tokens.push_back(partial[token]);
    for (int64_t f = 0; f < full.size(0); ++f) tokens.push_back(full[f]);
    torch::Tensor x = torch::stack(tokens);
    for (int64_t layer = 0; layer < spec_.layers; ++layer) {
      const std::string prefix = absl::StrCat("layer.", layer, ".");
      const torch::Tensor uvqk =
          torch::silu(parts_.Linear(prefix + "uvqk", parts_.Norm(prefix + "norm", x)));
      const torch::Tensor gated = uvqk.narrow(1, 0, spec_.d_model) *
                                  parts_.Norm(prefix + "attention.norm", Attended(prefix, uvqk));
      x = x + parts_.Linear(prefix + "out", gated);
    }
    return parts_.Norm("norm", x.narrow(0, PartialRows(), full.size(0)));
  }

 private:
  int64_t PartialRows() const { return static_cast<int64_t>(rows_.token.size()); }

  torch::Tensor Attended(const std::string& prefix, const torch::Tensor& uvqk) const {
    torch::Tensor out = torch::zeros({uvqk.size(0), spec_.d_model}, torch::kFloat64);
    const torch::Tensor position = parts_.Of(prefix + "position");
    const torch::Tensor time = parts_.Of(prefix + "time");
    const auto value = uvqk.accessor<double, 2>();
    const auto position_bias = position.accessor<double, 3>();
    const auto time_bias = time.accessor<double, 3>();
    auto to = out.accessor<double, 2>();
    const int64_t d = spec_.d_model, width = d / spec_.heads;
    const auto add = [&](int64_t row, int64_t key, int64_t position_bucket, int64_t time_bucket) {
      for (int64_t h = 0; h < spec_.heads; ++h) {
        double logit = 0.0;
        for (int64_t c = h * width; c < (h + 1) * width; ++c) {
          logit += value[row][2 * d + c] * value[key][3 * d + c];
        }
        logit = logit / std::sqrt(static_cast<double>(width)) +
                position_bias[h][position_bucket][0] + time_bias[h][time_bucket][0];
        const double weight = logit / (1.0 + std::exp(-logit)) / static_cast<double>(window_len_);
        for (int64_t c = h * width; c < (h + 1) * width; ++c) {
          to[row][c] += weight * value[key][d + c];
        }
      }
    };
    for (int64_t row = 0; row < uvqk.size(0); ++row) {
      const auto full = static_cast<size_t>(row - PartialRows());
      const bool partial = row < PartialRows();
      const auto own = static_cast<size_t>(row);
      const int64_t begin = partial ? rows_.partial_begin[own] : rows_.full_begin[full];
      const int64_t end = partial ? row : rows_.full_end[full];
      const int64_t now_ms = partial ? rows_.key_time_ms[own] : batch_.request_time_ms[full];
      for (int64_t key = begin; key < end; ++key) {
        add(row, key, position_[static_cast<size_t>(end - key)],
            TimeBucket(bounds_ms_.data(), static_cast<int64_t>(bounds_ms_.size()),
                       now_ms - rows_.key_time_ms[static_cast<size_t>(key)]));
      }
      add(row, row, 0, 0);
    }
    return out;
  }

  const ModelSpec& spec_;
  const NaiveParts parts_;
  const Batch& batch_;
  const ChannelBatch& rows_;
  const int64_t window_len_;
  const std::vector<uint16_t> position_;
  const std::vector<int64_t> bounds_ms_;
};

void CheckHstu(const Batch& batch, const Model& model, torch::ScalarType type, uint64_t seed) {
  torch::NoGradGuard no_grad;
  const ModelSpec& spec = model.spec;
  const auto [net, full, partial] = NetAndTokens(batch, model, type, seed);
  const torch::Tensor found = Hstu(spec, net.w(), Precision::kF32, batch, full, partial);
  const torch::Tensor expected = NaiveHstu(spec, net.w(), batch, spec.channels[0].plan.window_len)
                                     .Run(full.to(torch::kFloat64), partial.to(torch::kFloat64));
  ASSERT_EQ(found.sizes(), expected.sizes());
  // Two layers with a norm of few columns each, which carries rounding on.
  const double tolerance = type == torch::kFloat64 ? 1e-11 : 2e-4;
  const torch::Tensor off = found.to(torch::kFloat64) - expected;
  EXPECT_LE(off.abs().max().item<double>(), tolerance);
}

// Checks a model without history, with less than a tile of it and with several tiles; with windows
// below and above a tile's rows. Of a model that searches there is nothing to choose, which has a
// test of its own (unit/train_history_search_test).
void ForHistories(ModelKind kind, const auto& check) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    for (const int64_t window_len : {4, 100}) {
      Config config = testing::MakeConfig();
      for (ModelConfig* model : {&config.sim.model, &config.hstu.model}) {
        model->channels[0].window_len = window_len;
        model->search.found = window_len;
      }
      const Model model = testing::MakeModel(config, kind, seed);
      for (const int events : {1, 30, 300}) {
        SCOPED_TRACE(::testing::Message()
                     << "seed " << seed << ", window " << window_len << ", events " << events);
        const Batch batch = testing::PackAll(
            model.spec, testing::MakeBlock(model.spec.tokens.schema, seed, 4, events));
        ASSERT_GT(batch.full.rows, 0u);
        if (events > 1) {
          ASSERT_GT(batch.channels[0].token.size(), 20u);
        }
        for (const torch::ScalarType type : {torch::kFloat64, torch::kFloat32}) {
          check(batch, model, type, seed);
        }
      }
    }
  }
}

TEST(Hstu, EqualsItsFormula) { ForHistories(ModelKind::kHstu, CheckHstu); }

// A softmax over logits [keys, heads] and its sum of values [keys, heads, width].
torch::Tensor NaiveSoftmaxSum(const torch::Tensor& logits, const torch::Tensor& values) {
  const torch::Tensor e = torch::exp(logits - std::get<0>(logits.max(0)));
  return ((e / e.sum(0)).unsqueeze(2) * values).sum(0);
}

// Multi-head attention of each candidate over its pairs, with bias by age and feedback.
torch::Tensor NaiveFound(const ModelSpec& spec, const NaiveParts& w, const HistoryPairs& pairs,
                         const torch::Tensor& full, const torch::Tensor& partial) {
  const int64_t d = spec.d_model, width = spec.head_width();
  const torch::Tensor q = w.Linear("found.query", w.Norm("found.norm", full));
  const torch::Tensor kv = w.Linear("found.key_value", w.Norm("found.norm", partial));
  const torch::Tensor time = w.Of("found.time"), action = w.Of("found.action");
  const auto heads = [&](const torch::Tensor& row) { return row.view({spec.heads, width}); };
  torch::Tensor read = torch::zeros({full.size(0), d}, torch::kFloat64);
  for (int64_t f = 0; f < full.size(0); ++f) {
    std::vector<torch::Tensor> logits, values;
    for (size_t p = 0; p < pairs.candidate.size(); ++p) {
      if (pairs.candidate[p] != f) continue;
      const torch::Tensor event = kv[pairs.event[p]];
      const torch::Tensor product = (heads(q[f]) * heads(event.narrow(0, 0, d))).sum(1);
      logits.push_back(product / std::sqrt(static_cast<double>(width)) +
                       time.select(2, 0).select(1, pairs.time_bucket[p]) +
                       action.select(2, 0).select(1, pairs.action[p]));
      values.push_back(heads(event.narrow(0, d, d)));
    }
    if (!logits.empty()) {
      read[f] = NaiveSoftmaxSum(torch::stack(logits), torch::stack(values)).view({d});
    }
  }
  return w.Linear("found.out", read);
}

// The logits by which SIM's soft search learns: every visible event by the softmax of its product
// with the candidate, beside one key of logit 0 that is worth nothing.
torch::Tensor NaiveSearchLogits(const ModelSpec& spec, const NaiveParts& w, const Batch& batch,
                                const torch::Tensor& full, const torch::Tensor& partial) {
  const int64_t d = spec.d_model;
  const torch::Tensor query = w.Linear("search.query", full);
  const torch::Tensor key = w.Linear("search.key", partial);
  const ChannelBatch& rows = batch.channels[0];
  std::vector<torch::Tensor> reads;
  for (int64_t f = 0; f < full.size(0); ++f) {
    std::vector<torch::Tensor> logits = {torch::zeros({1}, torch::kFloat64)};
    std::vector<torch::Tensor> values = {torch::zeros({1, d}, torch::kFloat64)};
    const auto candidate = static_cast<size_t>(f);
    for (int32_t row = rows.full_begin[candidate]; row < rows.full_end[candidate]; ++row) {
      const int64_t event = rows.token[static_cast<size_t>(row)];
      const torch::Tensor product = (query[f] * key[event]).sum().view({1});
      logits.push_back(product / std::sqrt(static_cast<double>(d)));
      values.push_back(partial[event].view({1, d}));
    }
    reads.push_back(NaiveSoftmaxSum(torch::stack(logits), torch::stack(values)).view({d}));
  }
  torch::Tensor z = torch::cat({full, torch::stack(reads)}, 1);
  for (size_t i = 0; i <= spec.head_hidden.size(); ++i) {
    z = w.Linear(absl::StrCat("search.head.", i), z);
    if (i < spec.head_hidden.size()) z = 0.5 * z * (1.0 + torch::erf(z / std::sqrt(2.0)));
  }
  return z;
}

void CheckSim(const Batch& batch, const Model& model, torch::ScalarType type, uint64_t seed) {
  torch::NoGradGuard no_grad;
  const ModelSpec& spec = model.spec;
  const auto [net, full, partial] = NetAndTokens(batch, model, type, seed);
  const BatchLookup lookup = Lookup(spec.tokens).Find(batch, model.tables);
  const AttendedTarget found =
      TargetAttention(spec, net.w(), Precision::kF32, batch, lookup, {{}, full}, {{}, partial});
  const NaiveParts w(net.w());
  const torch::Tensor full_f64 = full.to(torch::kFloat64);
  const torch::Tensor partial_f64 = partial.to(torch::kFloat64);
  // Softmaxes of sums of few columns; a norm of few columns carries rounding on.
  const double tolerance = type == torch::kFloat64 ? 1e-12 : 1e-4;
  const auto expect_near = [&](const torch::Tensor& x, const torch::Tensor& expected) {
    ASSERT_EQ(x.sizes(), expected.sizes());
    EXPECT_LE((x.to(torch::kFloat64) - expected).abs().max().item<double>(), tolerance);
  };
  const HistoryPairs all = LargestProducts(spec, batch, full, partial);
  expect_near(found.inputs.narrow(1, 2 * spec.d_model, spec.d_model),
              NaiveFound(spec, w, all, full_f64, partial_f64));
  expect_near(found.search_logits, NaiveSearchLogits(spec, w, batch, full_f64, partial_f64));
}

TEST(Sim, ReadsEqualTheirFormulas) { ForHistories(ModelKind::kSim, CheckSim); }

}  // namespace
}  // namespace grab
