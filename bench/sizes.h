// Every size the benchmark uses. Quick() exists to run all of the code in a test: its figures mean
// nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/gemm.h"
#include "bench/harness.h"

namespace grab::bench {

constexpr uint64_t kSeed = 1;  // of everything random

struct Sizes {
  Repetitions repetitions;

  // Ceilings: the best of these shapes is the machine's rate. Arrays far larger than the last-level
  // cache, and one that fits in it.
  std::vector<GemmShape> gemm = {{1024, 1024, 1024}, {2048, 1024, 512}, {1024, 4096, 1024}};
  int64_t memory_bytes = int64_t{256} << 20;
  int64_t cached_bytes = int64_t{16} << 20;

  // Attention: `events` P rows and as many F rows in one segment.
  int64_t attention_events = 1024;
  int64_t heads = 4;
  int64_t head_width = 64;
  int64_t buckets = 32;
  // The long-tailed mix: tokens per segment, half P and half F, log-normal, one of the longest.
  int64_t mix_segments = 16;
  double mix_median = 100;
  double mix_sigma = 1.0;
  int64_t mix_longest = 2048;

  // Kernels one by one.
  std::vector<int64_t> micro_events = {64, 256, 1024};
  int64_t micro_rows = 2048;

  // Models.
  int64_t d_model = 256;
  int64_t layers = 4;
  int64_t ffn_hidden = 1024;
  int64_t tokenizer_hidden = 256;
  int64_t head_hidden = 128;
  int64_t embedding_dim = 16;
  int64_t table_rows = 100000;  // of the largest table, before the first step

  // Ranking.
  int64_t rank_events = 1024;
  int64_t rank_candidates = 128;
  int64_t rank_sample = 4;  // candidates that full recompute is timed on

  // Cost against length.
  std::vector<int64_t> lengths = {128, 512, 2048, 8192};
  int64_t length_events = 8192;  // per training batch: as many users as that makes
  int64_t window = 512;

  static Sizes Full() { return {}; }
  static Sizes Quick() {
    Sizes sizes;
    sizes.repetitions = {2, 2, 1.0, 0.0};
    sizes.gemm = {{64, 64, 64}};
    sizes.memory_bytes = int64_t{1} << 20;
    sizes.cached_bytes = int64_t{1} << 16;
    sizes.attention_events = 32;
    sizes.head_width = 16;
    sizes.mix_segments = 4;
    sizes.mix_median = 12;
    sizes.mix_longest = 32;
    sizes.micro_events = {16};
    sizes.micro_rows = 32;
    sizes.d_model = 64;
    sizes.layers = 2;
    sizes.ffn_hidden = 96;
    sizes.tokenizer_hidden = 32;
    sizes.head_hidden = 16;
    sizes.table_rows = 1000;
    sizes.rank_events = 32;
    sizes.rank_candidates = 8;
    sizes.rank_sample = 2;
    sizes.lengths = {8, 64};
    sizes.length_events = 64;
    sizes.window = 16;
    return sizes;
  }
};

}  // namespace grab::bench
