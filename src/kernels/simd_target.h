// Which SIMD instructions the kernels run with: the best of this processor unless forced.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

// Targets this processor can run and the build holds, best first: "AVX3" (AVX-512), "AVX2", "SSE4",
// and the compiler's baseline.
std::vector<std::string> SimdTargets();

// The target the kernels run with now.
std::string SimdTarget();

// Makes the kernels of this process run with `name` from now on (empty: the best one again), with
// its bf16 and int8 dot-product instructions, where it has them, if `dot_instructions`. A target
// that this processor or build lacks is refused. Not while a kernel runs.
Status ForceSimdTarget(const std::string& name, bool dot_instructions = true);

// ForceSimdTarget with what the environment variable GRAB_SIMD names; nothing without it. Programs
// call it before their first kernel.
Status ForceSimdTargetOfEnvironment();

// Whether bf16 and int8 kernels use AVX512_BF16 and AVX512_VNNI now. Otherwise they widen in
// registers: the same formats, slower.
bool HasDotInstructions();

}  // namespace grab
