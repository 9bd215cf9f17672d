// After the first calls, Score, Append, Prefill and pins allocate nothing and take no lock. malloc
// and its kin and pthread's locks are interposed and counted on the calling thread, which also
// catches operator new.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <cstdlib>

#include "support/serve_engine.h"

// A sanitizer has its own malloc: there the counters stay 0, and the test skips.
#ifdef GRAB_SANITIZED
constexpr bool kCounts = false;
thread_local int64_t allocations = 0;
thread_local int64_t locks = 0;
#else
constexpr bool kCounts = true;
thread_local int64_t allocations = 0;
thread_local int64_t locks = 0;

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* old, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* old, size_t bytes) {
  ++allocations;
  return __libc_realloc(old, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const auto lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++locks;
  return lock(mutex);
}
}  // extern "C"
#endif

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;
using testing::TestEngine;

TEST(NoAllocation, TheCountersCount) {
  if (!kCounts) GTEST_SKIP() << "malloc belongs to a sanitizer";
  const int64_t before = allocations;
  const std::vector<int> some(100);
  EXPECT_GT(allocations, before) << some.size();
}

void ExpectNoneAfterWarmUp(int64_t latent_width) {
  Config config = MakeConfig();
  config.grab.model.latent_width = latent_width;
  config.grab.model.channels[0].window_len = 100;
  const Model model = MakeModel(config, ModelKind::kGrab, 1);
  UserBlock block = MakeBlock(model.spec.tokens.schema, 3, 1, 1000);
  ASSERT_GT(block.events.size(), 300u);
  const EventColumns& events = block.events;
  const auto n = events.size();
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    // Room for two or three users: prefills evict.
    const auto packed = *PackedModel::Create(model, precision);
    const size_t budget = 20 * (Engine::CacheOptions(*packed, 0).page_bytes + 1024);
    TestEngine engine(model, precision, 16, budget);
    std::vector<float> logits(2 * 40);
    const auto serve = [&](uint64_t user, size_t from, size_t to) {
      bool ok = engine->Prefill(user, events, 0, from).ok() && engine->Pin(user).ok();
      for (size_t i = from; i < to; ++i) ok = ok && engine->Append(user, events, i, i + 1).ok();
      const ScoreRequest requests[] = {{user, &events, n - 15, n}, {user, &events, n - 25, n}};
      ok = ok && engine->Score(requests, absl::MakeSpan(logits)).ok();
      engine->Unpin(user);
      return ok;
    };
    ASSERT_TRUE(serve(1, n - 40, n));
    ASSERT_TRUE(serve(2, n - 40, n));
    const int64_t allocations_before = allocations;
    const int64_t locks_before = locks;
    bool ok = true;
    for (uint64_t user = 3; user < 30; ++user) ok = ok && serve(user, n - 40 - user, n);
    const int64_t allocated = allocations - allocations_before;
    const int64_t locked = locks - locks_before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(allocated, 0) << PrecisionName(precision);
    EXPECT_EQ(locked, 0) << PrecisionName(precision);
    EXPECT_GT(engine.cache->Stats().evictions, 5u);
  }
}

TEST(NoAllocation, OnTheRequestPathAfterWarmUp) {
  if (!kCounts) GTEST_SKIP() << "malloc belongs to a sanitizer";
  ExpectNoneAfterWarmUp(0);
}

TEST(NoAllocation, WithALatent) {
  if (!kCounts) GTEST_SKIP() << "malloc belongs to a sanitizer";
  ExpectNoneAfterWarmUp(5);
}

}  // namespace
}  // namespace grab
