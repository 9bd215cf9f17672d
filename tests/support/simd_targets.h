// Runs a check once for every SIMD target of this machine, with that target forced.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "kernels/simd_target.h"

namespace grab::testing {

inline void OnEveryTarget(const std::function<void()>& body) {
  for (const std::string& target : SimdTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceSimdTarget(target).ok());
    ASSERT_EQ(SimdTarget(), target);
    body();
  }
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

}  // namespace grab::testing
