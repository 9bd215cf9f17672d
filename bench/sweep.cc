#include "bench/sweep.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace grab::bench {
namespace {

std::string Describe(const Choice& choice, bool padded) {
  return absl::StrCat(bench::Describe(choice.process),
                      padded ? absl::StrCat(", ", choice.users, " users at once") : "");
}

// The best of a few calls, the first of which warms up: what disturbs a call only slows it down.
double Measure(const Choice& choice, const std::function<double(const Choice&)>& run) {
  constexpr double kLongCall = 1.0;
  Apply(choice.process);
  double seconds = run(choice);
  const int more = seconds > kLongCall ? 1 : 3;
  for (int i = 0; i < more; ++i) seconds = std::min(seconds, run(choice));
  return seconds;
}

}  // namespace

// Not in the header: inlined, GCC 12 takes the lists for uninitialised.
Choices Choices::OneThread() { return {}; }
Choices Choices::TwoThreads() { return {{{2, 1}, {2, 2}, {1, 2}, {1, 1}}}; }

Found FindBest(const std::string& peer, const Choices& choices,
               const std::function<double(const Choice&)>& run) {
  std::vector<Choice> tried;
  Choice best;
  double best_s = 0.0;
  const bool padded = choices.users.size() > 1;
  std::string others;
  const auto attempt = [&](const Choice& choice) {
    for (const Choice& done : tried) {
      if (done.process == choice.process && done.users == choice.users) return;
    }
    const double s = Measure(choice, run);
    tried.push_back(choice);
    const std::string line = absl::StrFormat("%s: %.1f ms%s", Describe(choice, padded), 1e3 * s,
                                             padded ? " per user" : "");
    std::fprintf(stderr, "  %s, %s\n", peer.c_str(), line.c_str());
    absl::StrAppend(&others, others.empty() ? "" : "; ", line);
    if (tried.size() > 1 && s >= best_s) return;
    best = choice;
    best_s = s;
  };
  Choice start;
  start.process = {choices.threads[0].first, choices.threads[0].second, choices.allocators[0]};
  start.users = choices.users[0];
  best = start;
  for (const Allocator allocator : choices.allocators) {
    Choice choice = best;
    choice.process.allocator = allocator;
    attempt(choice);
  }
  for (const auto& [threads, blas] : choices.threads) {
    Choice choice = best;
    choice.process.threads = threads;
    choice.process.blas_threads = blas;
    attempt(choice);
  }
  for (const int64_t users : choices.users) {
    Choice choice = best;
    choice.users = users;
    attempt(choice);
  }
  return {best, absl::StrCat(peer, ": ", Describe(best, padded), " (tried: ", others, ")")};
}

}  // namespace grab::bench
