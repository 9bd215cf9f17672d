// What the machine can do: products and memory.
#include "absl/strings/str_cat.h"
#include "bench/bandwidth.h"
#include "bench/cases.h"
#include "kernels/matmul.h"

namespace grab::bench {
namespace {

void RunGemms(Context& context) {
  std::vector<Side> sides;
  std::vector<double> flops;
  std::vector<std::string> names, conditions;
  for (const GemmType type : {GemmType::kF32, GemmType::kBf16, GemmType::kU8S8}) {
    if (type == GemmType::kBf16 && !Supported(Precision::kBf16)) continue;
    for (const int threads : {1, 2}) {
      sides.push_back(context.Ceiling(type, threads));
      flops.push_back(context.CeilingFlops(type, threads));
      names.push_back(absl::StrCat("ceiling_gemm_", Name(type), "_", threads, "t"));
      conditions.push_back(
          absl::StrCat("oneDNN matmul, best of ", context.sizes().gemm.size(), " shapes"));
    }
  }
  const auto seconds = context.Interleave(sides);
  for (size_t i = 0; i < sides.size(); ++i) {
    context.Add(Single(PerSecond(names[i], "GFLOP/s", flops[i], seconds[i])), conditions[i]);
  }
}

template <class Pass>
void RunPass(Context& context, const std::string& name, const std::string& conditions, Pass& pass) {
  const auto seconds = context.Interleave({MakeSide(name, ProcessSettings(), [&] { pass.Run(); })});
  context.Add(Single(PerSecond(name, "GB/s", pass.bytes(), seconds[0])), conditions);
}

}  // namespace

void RunCeilings(Context& context) {
  context.Section("The machine's ceilings");
  RunGemms(context);
  const Sizes& sizes = context.sizes();
  const int64_t passes = std::max<int64_t>(1, sizes.memory_bytes / sizes.cached_bytes);
  for (const int threads : {1, 2}) {
    const std::string suffix = absl::StrCat("_", threads, "t");
    MemoryCopy copy(sizes.memory_bytes, threads);
    RunPass(context, "ceiling_memory_copy" + suffix,
            absl::StrCat(sizes.memory_bytes >> 20, " MiB, bytes read and written"), copy);
    MemoryRead read(sizes.memory_bytes, 1, threads);
    RunPass(context, "ceiling_memory_read" + suffix, absl::StrCat(sizes.memory_bytes >> 20, " MiB"),
            read);
    MemoryRead cached(sizes.cached_bytes, passes, threads);
    RunPass(context, "ceiling_cache_read" + suffix,
            absl::StrCat(sizes.cached_bytes >> 20, " MiB, again and again"), cached);
  }
}

}  // namespace grab::bench
