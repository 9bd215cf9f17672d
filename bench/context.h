// What a case of the benchmark works with: sizes, the machine's ceilings, and where its figures go.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/gemm.h"
#include "bench/result.h"
#include "bench/sizes.h"

namespace grab::bench {

class Context {
 public:
  explicit Context(Sizes sizes) : sizes_(std::move(sizes)) {}

  const Sizes& sizes() const { return sizes_; }
  const std::vector<Figure>& figures() const { return figures_; }

  // Figures that follow stand under this heading.
  void Section(std::string title) { section_ = std::move(title); }
  // Prints one line of it.
  void Add(Figure figure, std::string conditions, std::vector<std::string> settings = {});

  std::vector<std::vector<double>> Interleave(const std::vector<Side>& sides) const {
    return bench::Interleave(sides, sizes_.repetitions);
  }

  // The machine's fastest product of a type, found at the first call: the ceiling, to take turns
  // with what is held against it.
  Side Ceiling(GemmType type, int threads);
  // Of one call of that side.
  double CeilingFlops(GemmType type, int threads);

 private:
  Gemm& Fastest(GemmType type, int threads);

  Sizes sizes_;
  std::string section_;
  std::vector<Figure> figures_;
  std::map<std::pair<GemmType, int>, std::unique_ptr<Gemm>> fastest_;
};

// `flops` in `seconds`, and the ceiling's, both GFLOP/s, as a fraction.
Figure PeakFraction(std::string name, double flops, const std::vector<double>& seconds,
                    double ceiling_flops, const std::vector<double>& ceiling_seconds);

}  // namespace grab::bench
