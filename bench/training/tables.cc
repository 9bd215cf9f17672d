#include "bench/training/tables.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bench/bandwidth.h"
#include "embedding/lookup.h"
#include "embedding/maintain.h"
#include "embedding/row_batch.h"

namespace grab::bench {
namespace {

constexpr size_t kPeerAhead = 16;  // rows prefetched by the peer
constexpr uint32_t kNowS = 1'700'000'000;

StatusOr<double> ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");  // has no size to read by
  if (file == nullptr) return absl::NotFoundError("/proc/self/statm: cannot be opened");
  unsigned long long total = 0, resident = 0;
  const int read = std::fscanf(file, "%llu %llu", &total, &resident);
  std::fclose(file);
  if (read != 2) return absl::InternalError("/proc/self/statm: expected two numbers");
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// Table "t" read by one id slot of the full view.
TokenSpec SpecOf(uint32_t dim) {
  TokenSpec spec;
  TokenSlot slot;
  slot.name = "t";
  slot.table = 0;
  slot.width = dim;
  slot.full = true;
  spec.slots = {slot};
  spec.tables = {{"t", dim, false}};
  return spec;
}

Batch BatchOf(std::vector<uint64_t> keys) {
  Batch batch;
  batch.full.slots = {0};
  batch.full.columns.resize(1);
  batch.full.columns[0].keys = std::move(keys);
  return batch;
}

class Contest {
 public:
  Contest(const LargeTable& options, std::vector<EmbeddingTable>& tables)
      : options_(options),
        tables_(tables),
        spec_(SpecOf(options.dim)),
        lookup_(spec_),
        pool_(options.threads),
        rng_(7),
        gathered_(options.batch_keys * options.dim),
        gradients_(options.batch_keys * options.dim, 1e-3f),
        copy_(MovedBytes() / 2, options.threads) {}

  // Seconds of one step, ours.
  double Ours() {
    const Batch batch = BatchOf(DrawKeys());
    const Stopwatch watch;
    const BatchLookup found =
        lookup_.FindOrInsert(batch, {.now_s = kNowS, .read_values = true, .pool = &pool_}, tables_);
    UpdateRows(found.unique_rows, {gradients_.data()}, 1.0, tables_, &pool_);
    return watch.Seconds();
  }

  // Seconds of moving the bytes of such a step.
  double Peer() {
    std::vector<float*> rows;
    for (const uint64_t key : DrawKeys()) {
      rows.push_back(reinterpret_cast<float*>(tables_[0].stored_values(tables_[0].Find(key))));
    }
    Evict();
    const Stopwatch watch;
    ForEachRange(&pool_, {rows.size()}, [&](size_t, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        Prefetch(rows, i + kPeerAhead, end);
        std::memcpy(&gathered_[i * options_.dim], rows[i], options_.dim * sizeof(float));
      }
    });
    ForEachRange(&pool_, {rows.size()}, [&](size_t, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        Prefetch(rows, i + kPeerAhead, end);
        const float* gradient = &gradients_[i * options_.dim];
        // Values, and the state that follows them.
        for (uint32_t d = 0; d < options_.dim; ++d) rows[i][d] += gradient[d];
        rows[i][options_.dim] += gradient[0];
      }
    });
    return watch.Seconds();
  }

  // Seconds of copying as many bytes from one place to another, in order.
  double Copy() {
    const Stopwatch watch;
    copy_.Run();
    return watch.Seconds();
  }

 private:
  // Rows read and written out; gradients read; rows with their state read and written.
  int64_t MovedBytes() const {
    const int64_t row_bytes = static_cast<int64_t>(sizeof(float)) * options_.dim;
    return static_cast<int64_t>(options_.batch_keys) * (3 * row_bytes + 2 * (row_bytes + 4));
  }

  // Distinct ones.
  std::vector<uint64_t> DrawKeys() {
    std::unordered_set<uint64_t> drawn;
    std::vector<uint64_t> keys;
    while (keys.size() < options_.batch_keys) {
      const uint64_t key = 1 + rng_.Below(options_.rows);
      if (drawn.insert(key).second) keys.push_back(key);
    }
    return keys;
  }

  void Prefetch(const std::vector<float*>& rows, size_t i, size_t end) const {
    if (i >= end) return;
    const char* row = reinterpret_cast<const char*>(rows[i]);
    for (size_t byte = 0; byte < options_.dim * sizeof(float) + 64; byte += 64) {
      __builtin_prefetch(row + byte, 1);
    }
  }

  // Finding the rows brought them near: the peer is to fetch them itself.
  void Evict() {
    std::vector<char> other(256 << 20, 1);
    for (size_t i = 0; i < other.size(); i += 64) gathered_[0] += static_cast<float>(other[i]);
  }

  const LargeTable& options_;
  std::vector<EmbeddingTable>& tables_;
  const TokenSpec spec_;
  Lookup lookup_;
  WorkerPool pool_;
  Rng rng_;
  std::vector<float> gathered_, gradients_;
  MemoryCopy copy_;
};

Figure WithWords(Figure figure, std::string conditions) {
  figure.conditions = std::move(conditions);
  figure.section = "Sparse tables";
  return figure;
}

}  // namespace

StatusOr<std::vector<Figure>> MeasureTable(const LargeTable& options) {
  TableOptions table;
  table.dim = options.dim;
  table.optimiser = SparseOptimiser::kAdagrad;
  table.init_std = 0.01;
  table.learning_rate = 0.01;
  GRAB_ASSIGN_OR_RETURN(const double before, ResidentBytes());
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(table);
  for (uint64_t key = 1; key <= options.rows; ++key) tables[0].FindOrInsert(key);
  GRAB_ASSIGN_OR_RETURN(const double after, ResidentBytes());
  const double payload = static_cast<double>(options.rows) * (4.0 * options.dim + 4.0);
  const std::string words =
      absl::StrCat(options.rows, " rows of width ", options.dim, ", row-wise Adagrad, f32");
  std::vector<Figure> figures;
  figures.push_back(
      WithWords(Ratio("table_memory_over_payload", {"resident", "GB", {(after - before) / 1e9}},
                      {"values and state", "GB", {payload / 1e9}}),
                words));
  Contest contest(options, tables);
  std::vector<double> ours, peer, copy;
  contest.Ours();
  contest.Peer();
  contest.Copy();
  for (int round = 0; round < options.rounds; ++round) {
    ours.push_back(contest.Ours());
    peer.push_back(contest.Peer());
    copy.push_back(contest.Copy());
  }
  const std::string batch = absl::StrCat(words, ", batches of ", options.batch_keys,
                                         " keys drawn at random, ", options.threads, " threads");
  const Series step = Milliseconds("look-up with values, update", ours);
  figures.push_back(WithWords(
      Ratio("table_step_over_memory_time", step, Milliseconds("moving the bytes", peer)), batch));
  figures.push_back(WithWords(Ratio("table_step_over_memcpy_time", step,
                                    Milliseconds("copying as many bytes in order", copy)),
                              batch));
  return figures;
}

}  // namespace grab::bench
