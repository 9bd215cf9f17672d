// Optimiser steps of one embedding row in f32, for whatever SIMD the machine has (Highway, chosen
// at run time). Pointers are the caller's and need no alignment beyond a float's.
#pragma once

#include <cstdint>

namespace grab {

// Row-wise Adagrad (Duchi, Hazan, Singer 2011, with one accumulator per row):
//   accumulated += mean(gradient^2)
//   values -= rate / (sqrt(accumulated) + 1e-10) * gradient
void AdagradRowStep(int64_t width, const float* gradient, float rate, float* values,
                    float* accumulated);

// The same of `rows` rows, gradients [rows, width]: of row i the values [width] lie at values[i],
// its accumulator behind them. Rows lie anywhere, no two are the same; `known` >= rows entries of
// `values` hold, so that the rows that come next are fetched in time.
void AdagradRowSteps(int64_t rows, int64_t known, int64_t width, const float* gradients, float rate,
                     float* const* values);

// Adam (Kingma, Ba 2015) with betas .9 and .999, whose bias correction counts the row's own steps,
// so that a rare row is not under-corrected. first, second [width].
void AdamRowStep(int64_t width, const float* gradient, float rate, float* values, float* first,
                 float* second, float* steps);

}  // namespace grab
