#include "kernels/rab_attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/rab_buckets.h"

namespace grab {
namespace {

template <class T>
T Dot(const T* a, const T* b, int64_t n) {
  T sum = 0;
  for (int64_t d = 0; d < n; ++d) sum += a[d] * b[d];
  return sum;
}

template <class T>
void AddScaled(const T* from, T scale, int64_t n, T* to) {
  for (int64_t d = 0; d < n; ++d) to[d] += scale * from[d];
}

// products[b] = q . codebook[b]
template <class T>
void CodebookProducts(const T* q, const T* codebook, int64_t buckets, int64_t width,
                      std::vector<T>& products) {
  products.resize(static_cast<size_t>(buckets));
  for (int64_t b = 0; b < buckets; ++b) {
    products[static_cast<size_t>(b)] = Dot(q, codebook + b * width, width);
  }
}

// Where the operands of one head start.
template <class T>
struct Head {
  const T *q, *k, *v, *position, *time, *action;

  Head(const RabShape& s, const RabInputs<T>& in, int64_t h)
      : q(in.q + h * s.head_width),
        k(in.k + h * s.head_width),
        v(in.v + h * s.head_width),
        position(in.codebook_position + h * s.position_buckets * s.head_width),
        time(in.codebook_time + h * s.time_buckets * s.head_width),
        action(in.codebook_action + h * s.action_classes * s.head_width) {}
};

template <class T>
struct Products {
  std::vector<T> position, time, action;
};

template <class T>
void Logits(const RabShape& shape, const RabInputs<T>& inputs, const Head<T>& head, const T* q,
            const RabRow& row, Products<T>& products, std::vector<T>& logits) {
  const int64_t width = shape.head_width;
  CodebookProducts(q, head.position, shape.position_buckets, width, products.position);
  CodebookProducts(q, head.time, shape.time_buckets, width, products.time);
  CodebookProducts(q, head.action, shape.action_classes, width, products.action);
  const T scale = T(1) / std::sqrt(static_cast<T>(width));
  logits.resize(row.size());
  for (size_t j = 0; j < row.size(); ++j) {
    logits[j] = scale * (Dot(q, head.k + row.key[j] * inputs.kv_stride, width) +
                         products.position[static_cast<size_t>(row.position[j])] +
                         products.time[static_cast<size_t>(row.time[j])] +
                         products.action[static_cast<size_t>(row.action[j])]);
  }
}

}  // namespace

void RabRow::Fill(const RabShape& shape, const RabVisibility& visibility, int64_t query) {
  const int32_t begin = visibility.key_begin[query];
  const int32_t end = visibility.key_end[query];
  const auto keys = static_cast<size_t>(end - begin) + 1;
  key.resize(keys);
  position.resize(keys);
  time.resize(keys);
  action.resize(keys);
  for (int32_t j = begin; j < end; ++j) {
    const auto at = static_cast<size_t>(j - begin);
    key[at] = j;
    position[at] = visibility.position_bucket[end - j];
    time[at] = TimeBucket(visibility.time_bound_ms, shape.time_buckets - 2,
                          visibility.query_time_ms[query] - visibility.key_time_ms[j]);
    action[at] = visibility.key_action[j];
  }
  key.back() = visibility.self_key[query];
  position.back() = 0;
  time.back() = 0;
  action.back() = static_cast<int32_t>(shape.action_classes) - 1;
}

template <class T>
T RabAttentionWeights(const RabShape& shape, const RabInputs<T>& inputs, const RabRow& row,
                      int64_t query, int64_t head, std::vector<T>& weights) {
  const Head<T> operands(shape, inputs, head);
  Products<T> products;
  Logits(shape, inputs, operands, operands.q + query * inputs.q_stride, row, products, weights);
  const T largest = *std::max_element(weights.begin(), weights.end());
  T sum = 0;
  for (T& weight : weights) {
    weight = std::exp(weight - largest);
    sum += weight;
  }
  for (T& weight : weights) weight /= sum;
  return largest + std::log(sum);
}

template <class T>
void RabAttentionForward(const RabShape& shape, const RabVisibility& visibility,
                         const RabInputs<T>& inputs, int64_t head_begin, int64_t head_end, T* out,
                         T* log_sum) {
  const int64_t width = shape.head_width;
  RabRow row;
  std::vector<T> weights;
  for (int64_t i = 0; i < shape.queries; ++i) {
    row.Fill(shape, visibility, i);
    for (int64_t h = head_begin; h < head_end; ++h) {
      const T denominator_log = RabAttentionWeights(shape, inputs, row, i, h, weights);
      const T* v = inputs.v + h * width;
      T* row_out = out + (i * shape.heads + h) * width;
      std::fill(row_out, row_out + width, T(0));
      for (size_t j = 0; j < row.size(); ++j) {
        AddScaled(v + row.key[j] * inputs.kv_stride, weights[j], width, row_out);
      }
      if (log_sum != nullptr) log_sum[i * shape.heads + h] = denominator_log;
    }
  }
}

template <class T>
void RabAttentionBackward(const RabShape& shape, const RabVisibility& visibility,
                          const RabInputs<T>& inputs, int64_t head_begin, int64_t head_end,
                          const T* out, const T* log_sum, const T* d_out,
                          const RabGradients<T>& gradients) {
  const int64_t width = shape.head_width;
  const T scale = T(1) / std::sqrt(static_cast<T>(width));
  RabRow row;
  Products<T> products;
  Products<T> d_products;
  std::vector<T> logits;
  for (int64_t i = 0; i < shape.queries; ++i) {
    row.Fill(shape, visibility, i);
    for (int64_t h = head_begin; h < head_end; ++h) {
      const Head<T> head(shape, inputs, h);
      const T* q = head.q + i * inputs.q_stride;
      Logits(shape, inputs, head, q, row, products, logits);
      const T* row_d_out = d_out + (i * shape.heads + h) * width;
      const T mean = Dot(row_d_out, out + (i * shape.heads + h) * width, width);
      T* d_q = gradients.d_q + i * inputs.q_stride + h * width;
      d_products.position.assign(products.position.size(), T(0));
      d_products.time.assign(products.time.size(), T(0));
      d_products.action.assign(products.action.size(), T(0));
      for (size_t j = 0; j < row.size(); ++j) {
        const int64_t at = row.key[j] * inputs.kv_stride;
        const T weight = std::exp(logits[j] - log_sum[i * shape.heads + h]);
        const T d_logit = scale * weight * (Dot(row_d_out, head.v + at, width) - mean);
        AddScaled(row_d_out, weight, width, gradients.d_v + at + h * width);
        AddScaled(q, d_logit, width, gradients.d_k + at + h * width);
        AddScaled(head.k + at, d_logit, width, d_q);
        d_products.position[static_cast<size_t>(row.position[j])] += d_logit;
        d_products.time[static_cast<size_t>(row.time[j])] += d_logit;
        d_products.action[static_cast<size_t>(row.action[j])] += d_logit;
      }
      const auto codebook = [&](const std::vector<T>& d, const T* values, T* d_values) {
        for (size_t b = 0; b < d.size(); ++b) {
          if (d[b] == T(0)) continue;
          const int64_t at = static_cast<int64_t>(b) * width;
          AddScaled(values + at, d[b], width, d_q);
          AddScaled(q, d[b], width, d_values + at);
        }
      };
      codebook(d_products.position, head.position,
               gradients.d_codebook_position + h * shape.position_buckets * width);
      codebook(d_products.time, head.time,
               gradients.d_codebook_time + h * shape.time_buckets * width);
      codebook(d_products.action, head.action,
               gradients.d_codebook_action + h * shape.action_classes * width);
    }
  }
}

template float RabAttentionWeights<float>(const RabShape&, const RabInputs<float>&, const RabRow&,
                                          int64_t, int64_t, std::vector<float>&);
template void RabAttentionForward<float>(const RabShape&, const RabVisibility&,
                                         const RabInputs<float>&, int64_t, int64_t, float*, float*);
template void RabAttentionForward<double>(const RabShape&, const RabVisibility&,
                                          const RabInputs<double>&, int64_t, int64_t, double*,
                                          double*);
template void RabAttentionBackward<float>(const RabShape&, const RabVisibility&,
                                          const RabInputs<float>&, int64_t, int64_t, const float*,
                                          const float*, const float*, const RabGradients<float>&);
template void RabAttentionBackward<double>(const RabShape&, const RabVisibility&,
                                           const RabInputs<double>&, int64_t, int64_t,
                                           const double*, const double*, const double*,
                                           const RabGradients<double>&);

}  // namespace grab
