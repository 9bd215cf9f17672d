// Gradient-boosted trees of one binary task, by XGBoost (Chen & Guestrin, KDD 2016).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "config/settings.h"

namespace grab {

// Bytes that XGBoost takes per value of a matrix: its sparse copy and its bins.
inline constexpr double kBoosterBytesPerValue = 16.0;

// Rows of features in XGBoost's form.
class TreeRows {
 public:
  // Copies `values` [rows][names.size()], NaN = missing; neither may be empty.
  static StatusOr<TreeRows> Create(absl::Span<const float> values,
                                   const std::vector<std::string>& names, int threads);

  // Bit `task` of each row's words: its label, and whether it counts.
  Status SetLabels(const std::vector<uint32_t>& labels, const std::vector<uint32_t>& labels_known,
                   size_t task);

  uint64_t rows() const { return rows_; }
  void* handle() const { return handle_.get(); }  // DMatrixHandle

 private:
  struct Free {
    void operator()(void* handle) const;
  };

  std::unique_ptr<void, Free> handle_;
  uint64_t rows_ = 0;
};

struct BoosterFit {
  int64_t rounds = 0;       // trees that were grown
  int64_t best_rounds = 0;  // trees that were kept
};

// A model that has been fitted.
class Booster {
 public:
  // Grows trees on `train`, whose labels have the mean `base_rate`, until `valid` (nullptr: none)
  // has gone config.early_stop_rounds without a better log-loss, and keeps those up to the best.
  // `after_round`: the trees so far and the log-loss of `valid`, 0 without. The same bits for the
  // same rows, settings and threads.
  static StatusOr<Booster> Fit(const TreesConfig& config, int threads, const TreeRows& train,
                               double base_rate, const TreeRows* valid,
                               const std::function<void(int64_t, double)>& after_round);

  const BoosterFit& fit() const { return fit_; }
  // Of the positive class, one per row.
  StatusOr<std::vector<float>> Logits(const TreeRows& rows) const;
  // Splits and leaves of all trees.
  StatusOr<uint64_t> Nodes() const;
  // The model in XGBoost's UBJSON format, which its other languages load.
  StatusOr<std::string> Serialized() const;

 private:
  struct Free {
    void operator()(void* handle) const;
  };
  using Handle = std::unique_ptr<void, Free>;

  static StatusOr<Handle> Make(const TreesConfig& config, int threads, const TreeRows& train,
                               double base_rate, const TreeRows* valid);
  Status KeepBest();

  Handle handle_;
  BoosterFit fit_;
};

}  // namespace grab
