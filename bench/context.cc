#include "bench/context.h"

#include <cstdio>

#include "absl/strings/str_cat.h"

namespace grab::bench {

void Context::Add(Figure figure, std::string conditions, std::vector<std::string> settings) {
  figure.section = section_;
  figure.conditions = std::move(conditions);
  figure.settings = std::move(settings);
  std::fprintf(stderr, "%-48s %10.4g %-8s %s\n", figure.name.c_str(), figure.value,
               figure.unit.c_str(), figure.conditions.c_str());
  figures_.push_back(std::move(figure));
}

Gemm& Context::Fastest(GemmType type, int threads) {
  std::unique_ptr<Gemm>& fastest = fastest_[{type, threads}];
  if (fastest != nullptr) return *fastest;
  double best = 0.0;
  for (const GemmShape& shape : sizes_.gemm) {
    auto gemm = std::make_unique<Gemm>(type, shape);
    const auto seconds = bench::Interleave(
        {MakeSide(Name(type), {threads, 1, Allocator::kRaised}, [&] { gemm->Run(); })},
        {3, 3, 1.0, sizes_.repetitions.turn_s_min});
    const double rate = gemm->flops() / Summarise(seconds[0]).median;
    if (rate <= best) continue;
    best = rate;
    fastest = std::move(gemm);
  }
  return *fastest;
}

Side Context::Ceiling(GemmType type, int threads) {
  Gemm& gemm = Fastest(type, threads);
  return MakeSide(absl::StrCat(Name(type), " GEMM"), {threads, 1, Allocator::kRaised},
                  [&gemm] { gemm.Run(); });
}

double Context::CeilingFlops(GemmType type, int threads) { return Fastest(type, threads).flops(); }

Figure PeakFraction(std::string name, double flops, const std::vector<double>& seconds,
                    double ceiling_flops, const std::vector<double>& ceiling_seconds) {
  return Ratio(std::move(name), PerSecond("ours", "GFLOP/s", flops, seconds),
               PerSecond("GEMM", "GFLOP/s", ceiling_flops, ceiling_seconds));
}

}  // namespace grab::bench
