// RAB attention against the naive form of GRAB Eq. 3: the bias vectors of every pair are written
// out (L x L x d) and added to the keys, the mask is a matrix. Gradients against central
// differences of that naive form.
//
// f64 agrees to 1e-12 relative to values of order 1 (only the order of additions differs);
// differences with step 1e-6 have an error of order 1e-9, so 1e-7 is asked. f32 must be within 2e-6
// of f64: rows have at most 40 keys.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"
#include "kernels/rab_attention.h"

namespace grab {
namespace {

struct Problem {
  RabShape shape;
  std::vector<int32_t> key_begin, key_end, self_key, key_action;
  std::vector<int64_t> query_time_ms, key_time_ms, time_bound_ms;
  std::vector<uint16_t> position_bucket;
  std::vector<double> q, k, v, position, time, action;

  RabVisibility visibility() const {
    return {key_begin.data(),   key_end.data(),    self_key.data(),        query_time_ms.data(),
            key_time_ms.data(), key_action.data(), position_bucket.data(), time_bound_ms.data()};
  }
  int64_t d() const { return shape.heads * shape.head_width; }
};

std::vector<double> Normals(Rng& rng, int64_t n) {
  std::vector<double> values(static_cast<size_t>(n));
  for (double& value : values) value = rng.Normal();
  return values;
}

// `partial` history rows and `full` candidates in one segment; queries are all rows, or only the
// candidates.
Problem MakeProblem(uint64_t seed, int64_t partial, int64_t full, bool full_only) {
  Rng rng(seed);
  Problem p;
  const int64_t rows = partial + full;
  p.shape = {full_only ? full : rows,
             rows,
             1 + static_cast<int64_t>(rng.Below(3)),
             1 + static_cast<int64_t>(rng.Below(9)),
             7,
             6,
             5};
  for (int64_t b = 0; b < p.shape.time_buckets - 2; ++b) p.time_bound_ms.push_back(10 * (b + 1));
  p.position_bucket.push_back(0);
  for (int64_t distance = 1; distance <= partial + 1; ++distance) {
    p.position_bucket.push_back(static_cast<uint16_t>(1 + rng.Below(6)));
  }
  for (int64_t i = 0; i < partial; ++i) {
    p.key_time_ms.push_back(i == 0 ? 0
                                   : p.key_time_ms.back() + static_cast<int64_t>(rng.Below(15)));
    p.key_action.push_back(static_cast<int32_t>(rng.Below(4)));
  }
  const int64_t now_ms = partial == 0 ? 0 : p.key_time_ms.back() + 5;
  for (int64_t i = full_only ? partial : 0; i < rows; ++i) {
    const bool history = i < partial;
    const auto end =
        history ? i : static_cast<int64_t>(rng.Below(static_cast<uint64_t>(partial) + 1));
    p.key_end.push_back(static_cast<int32_t>(end));
    p.key_begin.push_back(static_cast<int32_t>(rng.Below(static_cast<uint64_t>(end) + 1)));
    p.self_key.push_back(static_cast<int32_t>(i));
    p.query_time_ms.push_back(history ? p.key_time_ms[static_cast<size_t>(i)] : now_ms);
  }
  p.q = Normals(rng, p.shape.queries * p.d());
  p.k = Normals(rng, rows * p.d());
  p.v = Normals(rng, rows * p.d());
  p.position = Normals(rng, p.shape.heads * p.shape.position_buckets * p.shape.head_width);
  p.time = Normals(rng, p.shape.heads * p.shape.time_buckets * p.shape.head_width);
  p.action = Normals(rng, p.shape.heads * p.shape.action_classes * p.shape.head_width);
  return p;
}

int64_t NaiveTimeBucket(const Problem& p, int64_t age_ms) {
  int64_t bucket = 1;
  for (const int64_t bound : p.time_bound_ms) bucket += age_ms > bound ? 1 : 0;
  return bucket;
}

std::vector<double> NaiveForward(const Problem& p) {
  const RabShape& s = p.shape;
  std::vector<double> out(static_cast<size_t>(s.queries * p.d()), 0.0);
  for (int64_t h = 0; h < s.heads; ++h) {
    for (int64_t i = 0; i < s.queries; ++i) {
      std::vector<double> weight(static_cast<size_t>(s.keys), 0.0);
      double sum = 0.0;
      for (int64_t j = 0; j < s.keys; ++j) {
        const auto qi = static_cast<size_t>(i);
        const bool self = j == p.self_key[qi];
        if (!self && (j < p.key_begin[qi] || j >= p.key_end[qi])) continue;
        const int64_t pos = self ? 0 : p.position_bucket[static_cast<size_t>(p.key_end[qi] - j)];
        const int64_t time =
            self ? 0
                 : NaiveTimeBucket(p, p.query_time_ms[qi] - p.key_time_ms[static_cast<size_t>(j)]);
        const int64_t act = self ? s.action_classes - 1 : p.key_action[static_cast<size_t>(j)];
        double logit = 0.0;
        for (int64_t d = 0; d < s.head_width; ++d) {
          const auto at = [&](int64_t n, int64_t row) {
            return static_cast<size_t>((h * n + row) * s.head_width + d);
          };
          const double key = p.k[static_cast<size_t>(j * p.d() + h * s.head_width + d)] +
                             p.position[at(s.position_buckets, pos)] +
                             p.time[at(s.time_buckets, time)] + p.action[at(s.action_classes, act)];
          logit += p.q[static_cast<size_t>(i * p.d() + h * s.head_width + d)] * key;
        }
        weight[static_cast<size_t>(j)] = std::exp(logit / std::sqrt(double(s.head_width)));
        sum += weight[static_cast<size_t>(j)];
      }
      for (int64_t j = 0; j < s.keys; ++j) {
        for (int64_t d = 0; d < s.head_width; ++d) {
          out[static_cast<size_t>(i * p.d() + h * s.head_width + d)] +=
              weight[static_cast<size_t>(j)] / sum *
              p.v[static_cast<size_t>(j * p.d() + h * s.head_width + d)];
        }
      }
    }
  }
  return out;
}

template <class T>
struct Arrays {
  std::vector<T> q, k, v, position, time, action;
  explicit Arrays(const Problem& p)
      : q(p.q.begin(), p.q.end()),
        k(p.k.begin(), p.k.end()),
        v(p.v.begin(), p.v.end()),
        position(p.position.begin(), p.position.end()),
        time(p.time.begin(), p.time.end()),
        action(p.action.begin(), p.action.end()) {}
  RabInputs<T> inputs(int64_t d) const {
    return {q.data(), k.data(), v.data(), d, d, position.data(), time.data(), action.data()};
  }
};

template <class T>
std::vector<T> KernelForward(const Problem& p, std::vector<T>* log_sum) {
  const Arrays<T> arrays(p);
  std::vector<T> out(static_cast<size_t>(p.shape.queries * p.d()), T(-1));
  std::vector<T> sums(static_cast<size_t>(p.shape.queries * p.shape.heads));
  for (int64_t h = 0; h < p.shape.heads; ++h) {  // heads one by one: their order must not matter
    const int64_t head = p.shape.heads - 1 - h;
    RabAttentionForward<T>(p.shape, p.visibility(), arrays.inputs(p.d()), head, head + 1,
                           out.data(), sums.data());
  }
  if (log_sum != nullptr) *log_sum = sums;
  return out;
}

std::vector<Problem> Problems() {
  std::vector<Problem> problems;
  uint64_t seed = 0;
  for (const int64_t partial : {0, 1, 2, 5, 17, 40}) {
    for (const int64_t full : {1, 3, 8}) {
      for (const bool full_only : {false, true}) {
        problems.push_back(MakeProblem(++seed, partial, full, full_only));
      }
    }
  }
  return problems;
}

TEST(RabAttention, ForwardEqualsTheNaiveForm) {
  for (const Problem& p : Problems()) {
    const std::vector<double> expected = NaiveForward(p);
    const std::vector<double> f64 = KernelForward<double>(p, nullptr);
    const std::vector<float> f32 = KernelForward<float>(p, nullptr);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(f64[i], expected[i], 1e-12) << "keys " << p.shape.keys;
      ASSERT_NEAR(f32[i], expected[i], 2e-6 * (1.0 + std::abs(expected[i])))
          << "keys " << p.shape.keys;
    }
  }
}

TEST(RabAttention, GradientsEqualDifferencesOfTheNaiveForm) {
  for (Problem& p : Problems()) {
    if (p.shape.keys > 20) continue;  // differences are quadratic in the size
    SCOPED_TRACE(::testing::Message() << "keys " << p.shape.keys << " queries " << p.shape.queries);
    Rng rng(99);
    const std::vector<double> d_out = Normals(rng, p.shape.queries * p.d());
    std::vector<double> log_sum;
    const std::vector<double> out = KernelForward<double>(p, &log_sum);
    const Arrays<double> arrays(p);
    std::vector<double> d_q(p.q.size()), d_k(p.k.size()), d_v(p.v.size()),
        d_position(p.position.size()), d_time(p.time.size()), d_action(p.action.size());
    RabAttentionBackward<double>(
        p.shape, p.visibility(), arrays.inputs(p.d()), 0, p.shape.heads, out.data(), log_sum.data(),
        d_out.data(),
        {d_q.data(), d_k.data(), d_v.data(), d_position.data(), d_time.data(), d_action.data()});
    const auto loss = [&] {
      const std::vector<double> values = NaiveForward(p);
      double sum = 0.0;
      for (size_t i = 0; i < values.size(); ++i) sum += values[i] * d_out[i];
      return sum;
    };
    const auto check = [&](const char* name, std::vector<double>& values,
                           const std::vector<double>& gradient) {
      for (size_t i = 0; i < values.size(); ++i) {
        const double kept = values[i];
        values[i] = kept + 1e-6;
        const double up = loss();
        values[i] = kept - 1e-6;
        const double down = loss();
        values[i] = kept;
        ASSERT_NEAR(gradient[i], (up - down) / 2e-6, 1e-7 * (1.0 + std::abs(gradient[i])))
            << name << " " << i;
      }
    };
    check("q", p.q, d_q);
    check("k", p.k, d_k);
    check("v", p.v, d_v);
    check("position", p.position, d_position);
    check("time", p.time, d_time);
    check("action", p.action, d_action);
  }
}

}  // namespace
}  // namespace grab
