// Weighted sum of embedding rows per token: out[r] = sum over pairs i of r: weight[i] *
// table[index[i]].
#pragma once

#include <cstdint>

namespace grab {

// Pairs of `rows` tokens. Pointers are the caller's.
struct PoolPairs {
  int64_t rows = 0;
  const uint32_t* offsets = nullptr;  // [rows + 1]
  const uint32_t* index = nullptr;    // [pairs], rows of the table
  const float* weight = nullptr;      // [pairs]
};

// table [*, width]; out [rows, width] with out_stride elements between rows; overwritten.
template <class T>
void EmbeddingPoolForward(const PoolPairs& pairs, const T* table, int64_t width, T* out,
                          int64_t out_stride);

// Adds to d_table [*, width]; duplicate indices add up.
template <class T>
void EmbeddingPoolBackward(const PoolPairs& pairs, const T* d_out, int64_t out_stride,
                           int64_t width, T* d_table);

// f32 has SIMD of its own; f64 runs the plain loops and is the reference.
template <>
void EmbeddingPoolForward<float>(const PoolPairs& pairs, const float* table, int64_t width,
                                 float* out, int64_t out_stride);
template <>
void EmbeddingPoolBackward<float>(const PoolPairs& pairs, const float* d_out, int64_t out_stride,
                                  int64_t width, float* d_table);

}  // namespace grab
