#include "kernels/simd_target.h"

#include <atomic>
#include <cstdlib>

#include "absl/strings/str_join.h"
#include "hwy/highway.h"

namespace grab {
namespace {

bool ProcessorHasDotInstructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

// What this file's tables, and so every kernel's, hold.
int64_t Usable() { return hwy::SupportedTargets() & (HWY_TARGETS); }

int64_t Best(int64_t targets) { return targets & -targets; }  // lower bits are better targets

bool DotInstructionsUsable() { return ProcessorHasDotInstructions() && SimdTarget() == "AVX3"; }

// Kept, because asking the processor costs microseconds on a virtual machine.
std::atomic<bool>& DotInstructions() {
  static std::atomic<bool> dot_instructions{DotInstructionsUsable()};
  return dot_instructions;
}

}  // namespace

std::vector<std::string> SimdTargets() {
  std::vector<std::string> names;
  for (int64_t rest = Usable(); rest != 0; rest &= rest - 1) {
    names.emplace_back(hwy::TargetName(Best(rest)));
  }
  return names;
}

std::string SimdTarget() { return hwy::TargetName(Best(Usable())); }

Status ForceSimdTarget(const std::string& name, bool dot_instructions) {
  hwy::SetSupportedTargetsForTest(0);  // every target of the processor again
  const int64_t usable = Usable();
  if (!name.empty()) {
    int64_t forced = 0;
    for (int64_t rest = usable; rest != 0; rest &= rest - 1) {
      if (hwy::TargetName(Best(rest)) == name) forced = Best(rest);
    }
    if (forced == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("SIMD target '", name,
                       "' cannot run here, expected one of: ", absl::StrJoin(SimdTargets(), ", ")));
    }
    hwy::SetSupportedTargetsForTest(forced);
  }
  hwy::GetChosenTarget().DeInit();
  DotInstructions() = dot_instructions && DotInstructionsUsable();
  return absl::OkStatus();
}

Status ForceSimdTargetOfEnvironment() {
  const char* name = std::getenv("GRAB_SIMD");
  if (name == nullptr) return absl::OkStatus();
  const Status status = ForceSimdTarget(name);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("GRAB_SIMD: ", status.message()));
}

bool HasDotInstructions() { return DotInstructions().load(std::memory_order_relaxed); }

}  // namespace grab
