// How things are timed: contenders take turns within one run, so that what the machine does to one
// it does to all; medians and quartiles, never a single number.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/process.h"

namespace grab::bench {

// One contender. `run` is one call and returns the seconds of it that count.
struct Side {
  std::string name;
  ProcessSettings settings;
  std::function<double()> run;
};

// A call that counts whole.
Side MakeSide(std::string name, const ProcessSettings& settings, std::function<void()> body);

struct Repetitions {
  int rounds = 15;           // every contender once per round
  int rounds_min = 3;        // also when the time is up
  double seconds_max = 30;   // of one Interleave
  double turn_s_min = 0.02;  // a contender's turn repeats shorter calls until they add up to this
};

// Seconds per call, [side][round]. Every side is warmed up before the first round, and called once,
// untimed, before each of its turns unless a call takes longer than a second: what the turns before
// it left in caches and in malloc is not its doing.
std::vector<std::vector<double>> Interleave(const std::vector<Side>& sides,
                                            const Repetitions& repetitions);

struct Spread {
  double median = 0.0, min = 0.0, p25 = 0.0, p75 = 0.0, max = 0.0;
};

// Of at least one value; quantiles between two values are interpolated.
Spread Summarise(std::vector<double> values);

}  // namespace grab::bench
