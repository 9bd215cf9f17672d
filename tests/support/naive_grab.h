// GRAB written once more, the slow way, as an oracle: one impression at a time, one row padded with
// its whole visible history, masks and bias vectors spelled out pair by pair, all in f64. It shares
// no code with batch, kernels, embedding look-up or the forwards; only the events, the weights and
// the names of things.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/hash.h"
#include "model/model.h"

namespace grab::testing {

class NaiveGrab {
 public:
  using Vector = std::vector<double>;

  NaiveGrab(const Model& model, const UserBlock& block) : model_(model), block_(block) {}

  // Logits of event `target` (index into the block) of the user whose events are [begin, end).
  Vector Score(uint32_t begin, uint32_t end, uint32_t target) const {
    const ModelSpec& spec = model_.spec;
    const EventColumns& events = block_.events;
    const Vector candidate = Token("tokenizer.full", false, target);
    if (spec.kind == ModelKind::kDlrm) return Head(candidate);
    std::vector<std::vector<uint32_t>> history(spec.channels.size());
    std::vector<std::vector<Vector>> state(
        spec.channels.size());  // history rows, then the candidate
    for (size_t c = 0; c < spec.channels.size(); ++c) {
      const uint32_t wanted = spec.channels[c].plan.actions;
      for (uint32_t i = begin; i < end; ++i) {
        if (events.history[i] == 0) continue;
        if (wanted != 0 && (events.actions[i] & wanted) == 0) continue;
        if (events.known_time_ms[i] >= events.request_time_ms[target]) continue;
        history[c].push_back(i);
        state[c].push_back(Token("tokenizer.partial", true, i));
      }
      state[c].push_back(candidate);
    }
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      if (spec.target_mix && spec.channels.size() > 1) MixTargets(layer, state);
      for (size_t c = 0; c < state.size(); ++c) {
        state[c] =
            Layer("channel." + std::to_string(c) + ".layer." + std::to_string(layer) + ".",
                  spec.channels[c].plan, history[c], events.request_time_ms[target], state[c]);
      }
    }
    Vector z;
    for (size_t c = 0; c < state.size(); ++c) {
      Vector last = state[c].back();
      if (spec.pre_norm) last = Norm("channel." + std::to_string(c) + ".norm", last);
      z.insert(z.end(), last.begin(), last.end());
    }
    return Head(z);
  }

 private:
  const std::vector<float>& W(const std::string& name) const { return model_.weights.at(name); }

  Vector Linear(const std::string& name, const Vector& x) const {
    const std::vector<float>& weight = W(name + ".weight");
    const std::vector<float>& bias = W(name + ".bias");
    Vector y(bias.begin(), bias.end());
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t j = 0; j < x.size(); ++j) y[i] += weight[i * x.size() + j] * x[j];
    }
    return y;
  }

  Vector Norm(const std::string& name, const Vector& x) const {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / double(x.size());
    for (const double v : x) variance += (v - mean) * (v - mean) / double(x.size());
    Vector y;
    for (size_t i = 0; i < x.size(); ++i) {
      y.push_back((x[i] - mean) / std::sqrt(variance + 1e-5) * W(name + ".scale")[i] +
                  W(name + ".shift")[i]);
    }
    return y;
  }

  static Vector Gelu(Vector x) {
    for (double& v : x) v = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    return x;
  }
  static double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
  static Vector Plus(Vector x, const Vector& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    return x;
  }

  // Adds weight * (row of key) to v at `at`.
  void AddRow(const TokenSlot& slot, uint64_t key, double weight, size_t at, Vector& v) const {
    const EmbeddingTable& table = model_.tables[static_cast<size_t>(slot.table)];
    uint32_t row = 0;
    table.ForEachRow([&](uint32_t r) {
      if (table.key(r) == key) row = r;
    });
    std::vector<float> values(slot.width);
    table.Read(row, values.data());
    for (uint32_t d = 0; d < slot.width; ++d) v[at + d] += weight * values[d];
  }

  // Key of one id or number field of an event; 0 if missing.
  uint64_t Key(int field, const std::vector<double>& boundaries, uint32_t event) const {
    const FieldColumn& column = block_.events.fields[static_cast<size_t>(field)];
    if (boundaries.empty()) return column.ids[event];
    if (std::isnan(column.numbers[event])) return 0;
    uint64_t key = 1;
    for (const double bound : boundaries) key += bound < column.numbers[event] ? 1 : 0;
    return key;
  }

  void AddSlot(const TokenSlot& slot, uint32_t event, size_t at, Vector& v) const {
    const EventColumns& events = block_.events;
    if (slot.kind == SlotKind::kActions) {
      bool any = false;
      for (size_t a = 0; a < model_.spec.tokens.schema.actions.size(); ++a) {
        const bool known = events.actions_known[event] >> a & 1;
        const bool set = events.actions[event] >> a & 1;
        if (known && !set) continue;
        AddRow(slot, known ? 1 + a : 64 + a, 1, at, v);
        any = true;
      }
      if (!any) AddRow(slot, 128, 1, at, v);
      return;
    }
    const FieldColumn& column = events.fields[static_cast<size_t>(slot.fields[0])];
    if (slot.kind == SlotKind::kDense) {
      for (uint32_t d = 0; d < slot.width; ++d) {
        const float value = column.numbers[event * slot.width + d];
        v[at + d] = std::isnan(value) ? 0 : value;
      }
    } else if (slot.kind == SlotKind::kIds) {
      double sum = 0;
      for (uint32_t i = column.offsets[event]; i < column.offsets[event + 1]; ++i)
        sum += column.numbers[i];
      for (uint32_t i = column.offsets[event]; i < column.offsets[event + 1]; ++i) {
        AddRow(slot, column.ids[i], column.numbers[i] / (slot.mean ? sum : 1), at, v);
      }
    } else {
      uint64_t key = Key(slot.fields[0], slot.boundaries[0], event);
      for (size_t part = 1; part < slot.fields.size(); ++part) {
        const uint64_t next = Key(slot.fields[part], slot.boundaries[part], event);
        key = key == 0 || next == 0 ? 0 : HashCombine(key, next);
      }
      if (key != 0) AddRow(slot, key, 1, at, v);
    }
  }

  Vector Token(const std::string& name, bool partial, uint32_t event) const {
    Vector v;
    for (const TokenSlot& slot : model_.spec.tokens.slots) {
      if (!(partial ? slot.partial : slot.full)) continue;
      v.resize(v.size() + slot.width, 0.0);
      AddSlot(slot, event, v.size() - slot.width, v);
    }
    const Vector x = Norm(name + ".norm", v);
    Vector out = Linear(name + ".out", Gelu(Linear(name + ".hidden", x)));
    const Vector gate = Linear(name + ".gate", x);
    for (size_t i = 0; i < out.size(); ++i) out[i] *= Sigmoid(gate[i]);
    return out;
  }

  Vector Head(Vector z) const {
    const size_t hidden = model_.spec.head_hidden.size();
    for (size_t i = 0; i < hidden; ++i) z = Gelu(Linear("head." + std::to_string(i), z));
    return Linear("head." + std::to_string(hidden), z);
  }

  void MixTargets(int64_t layer, std::vector<std::vector<Vector>>& state) const {
    Vector all;
    for (const auto& rows : state) all.insert(all.end(), rows.back().begin(), rows.back().end());
    const Vector gate = Linear("mix." + std::to_string(layer), all);
    const size_t d = state[0].back().size();
    for (size_t c = 0; c < state.size(); ++c) {
      for (size_t i = 0; i < state.size(); ++i) {
        for (size_t j = 0; i != c && j < d; ++j) {
          state[c].back()[j] += Sigmoid(gate[i * d + j]) * all[i * d + j];
        }
      }
    }
  }

  // Bucket of a distance: exact up to (n - 1) / 2, then logarithmic up to the window.
  int64_t PositionBucket(int64_t distance, int64_t window) const {
    const int64_t n = model_.spec.position_buckets;
    const int64_t exact = std::max<int64_t>(1, (n - 1) / 2);
    if (distance <= exact) return std::min(distance, n - 1);
    const double share =
        std::log(double(distance) / double(exact)) / std::log(double(window + 1) / double(exact));
    return std::min(n - 1, exact + 1 + static_cast<int64_t>(share * double(n - 1 - exact)));
  }

  int64_t TimeBucketOf(int64_t age_ms) const {
    const int64_t bounds = model_.spec.time_buckets - 2;
    int64_t bucket = 1;
    for (int64_t b = 0; b < bounds; ++b) {
      const double bound_ms =
          std::round(1000.0 * std::pow(model_.spec.time_max_s, double(b) / double(bounds - 1)));
      bucket += double(age_ms) > bound_ms ? 1 : 0;
    }
    return bucket;
  }

  int64_t ActionOf(uint32_t event) const {
    if (!model_.spec.action_bias) return 0;
    const auto n = static_cast<int64_t>(model_.spec.tokens.schema.actions.size());
    for (int64_t a = 0; a < n; ++a) {
      if (block_.events.actions[event] >> a & 1) return 1 + a;
    }
    return block_.events.actions_known[event] == (1u << n) - 1 ? 0 : n + 1;
  }

  std::vector<Vector> Layer(const std::string& prefix, const ChannelPlan& plan,
                            const std::vector<uint32_t>& history, int64_t request_ms,
                            const std::vector<Vector>& x) const {
    std::vector<Vector> normed = x;
    if (model_.spec.pre_norm) {
      for (Vector& row : normed) row = Norm(prefix + "attention.norm", row);
    }
    const std::vector<Vector> attended = Attention(prefix, plan, history, request_ms, normed);
    std::vector<Vector> out;
    for (size_t i = 0; i < x.size(); ++i) {
      Vector h = Plus(x[i], attended[i]);
      if (!model_.spec.pre_norm) h = Norm(prefix + "attention.norm", h);
      const Vector ffn_in = model_.spec.pre_norm ? Norm(prefix + "ffn.norm", h) : h;
      h = Plus(h, Linear(prefix + "ffn.out", Gelu(Linear(prefix + "ffn.hidden", ffn_in))));
      out.push_back(model_.spec.pre_norm ? h : Norm(prefix + "ffn.norm", h));
    }
    return out;
  }

  std::vector<Vector> Attention(const std::string& prefix, const ChannelPlan& plan,
                                const std::vector<uint32_t>& history, int64_t request_ms,
                                const std::vector<Vector>& x) const {
    const int64_t heads = model_.spec.heads, width = model_.spec.d_model / heads, d = heads * width;
    const auto n = static_cast<int64_t>(x.size());
    std::vector<Vector> qkv;
    for (const Vector& row : x) {
      const bool latent = model_.spec.latent_width > 0;
      qkv.push_back(Linear(prefix + "attention.qkv",
                           latent ? Linear(prefix + "attention.latent", row) : row));
    }
    const auto book = [&](const char* name, int64_t buckets, int64_t h, int64_t b, int64_t i) {
      return double(W(prefix + "attention.codebook_" +
                      name)[static_cast<size_t>((h * buckets + b) * width + i)]);
    };
    const size_t told = model_.spec.action_bias ? model_.spec.tokens.schema.actions.size() : 0;
    const int64_t actions = static_cast<int64_t>(told) + 3;
    std::vector<Vector> out;
    for (int64_t i = 0; i < n; ++i) {
      const bool candidate = i == n - 1;
      const int64_t now_ms =
          candidate ? request_ms : block_.events.known_time_ms[history[size_t(i)]];
      Vector joined;
      for (int64_t h = 0; h < heads; ++h) {
        Vector logits(static_cast<size_t>(i) + 1, -INFINITY);
        for (int64_t j = 0; j <= i; ++j) {
          const bool self = j == i;
          const int64_t age_ms =
              self ? 0 : now_ms - block_.events.known_time_ms[history[size_t(j)]];
          const int64_t inside = candidate ? plan.window_len : plan.window_len - 1;
          if (!self && i - j > inside) continue;
          if (!self && plan.window_time_ms > 0 && age_ms > plan.window_time_ms) continue;
          double sum = 0;
          for (int64_t e = 0; e < width; ++e) {
            const double key =
                qkv[size_t(j)][size_t(d + h * width + e)] +
                book("position", model_.spec.position_buckets, h,
                     self ? 0 : PositionBucket(i - j, plan.window_len), e) +
                book("time", model_.spec.time_buckets, h, self ? 0 : TimeBucketOf(age_ms), e) +
                book("action", actions, h, self ? actions - 1 : ActionOf(history[size_t(j)]), e);
            sum += qkv[size_t(i)][size_t(h * width + e)] * key;
          }
          logits[size_t(j)] = sum / std::sqrt(double(width));
        }
        const double largest = *std::max_element(logits.begin(), logits.end());
        double total = 0;
        for (double& logit : logits) total += logit = std::exp(logit - largest);
        for (int64_t e = 0; e < width; ++e) {
          double sum = 0;
          for (int64_t j = 0; j <= i; ++j) {
            sum += logits[size_t(j)] / total * qkv[size_t(j)][size_t(2 * d + h * width + e)];
          }
          joined.push_back(sum);
        }
      }
      out.push_back(Linear(prefix + "attention.out", joined));
    }
    return out;
  }

  const Model& model_;
  const UserBlock& block_;
};

}  // namespace grab::testing
