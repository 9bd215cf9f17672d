// Element-wise operators, f32, for whatever SIMD the machine has (Highway, chosen at
// run time). Pointers are the caller's; an output may be one of the inputs where its elements are
// the same ones.
#pragma once

#include <cstdint>

namespace grab {

// y = x Phi(x), within 1e-6 of GELU with the exact erf.
void GeluForward(int64_t n, const float* x, float* y);

// y = GELU(x) once more, d_x = d_y GELU'(x): the backward pass needs both, from one exponential.
void GeluBackward(int64_t n, const float* x, const float* d_y, float* y, float* d_x);

// out = x sigmoid(gate).
void GateForward(int64_t n, const float* gate, const float* x, float* out);

// out += x sigmoid(gate).
void AddGated(int64_t n, const float* gate, const float* x, float* out);

// d_x = d_out sigmoid(gate), d_gate = d_out x sigmoid'(gate).
void GateBackward(int64_t n, const float* gate, const float* x, const float* d_out, float* d_gate,
                  float* d_x);

// x += y.
void AddTo(int64_t n, const float* y, float* x);

// out[r] = bias + x[r] (x null: bias) for rows of `width`; strides in elements.
void AddBias(int64_t rows, int64_t width, const float* bias, const float* x, int64_t x_stride,
             float* out, int64_t out_stride);

// sums[c] += sum over rows of x[r, c]; row after row in blocks of four.
void AddColumnSums(int64_t rows, int64_t width, const float* x, int64_t x_stride, float* sums);

// x += scale * y.
void AddScaled(int64_t n, float scale, const float* y, float* x);

// Sum of squares, in f64 over partial sums of at most 1024 elements.
double SumOfSquares(int64_t n, const float* x);

// One AdamW step (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2) of n weights:
//   m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, with g = gradient_scale * gradient
//   weight = keep * weight - rate * m / (sqrt(v * inverse_correct2) + epsilon)
struct AdamWStep {
  float beta1, beta2, epsilon;
  float gradient_scale;
  float keep;              // 1 - learning rate * weight decay
  float rate;              // learning rate / (1 - beta1^t)
  float inverse_correct2;  // 1 / (1 - beta2^t)
};
void AdamWUpdate(int64_t n, const AdamWStep& step, const float* gradient, float* first,
                 float* second, float* weight);

// Round to nearest even; NaN stays NaN.
void ToBf16(int64_t n, const float* x, uint16_t* y);

}  // namespace grab
