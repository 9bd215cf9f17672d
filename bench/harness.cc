#include "bench/harness.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/clock.h"

namespace grab::bench {

Side MakeSide(std::string name, const ProcessSettings& settings, std::function<void()> body) {
  return {std::move(name), settings, [body = std::move(body)] {
            const Stopwatch watch;
            body();
            return watch.Seconds();
          }};
}

std::vector<std::vector<double>> Interleave(const std::vector<Side>& sides,
                                            const Repetitions& repetitions) {
  constexpr double kLongCall = 1.0;
  std::vector<std::vector<double>> seconds(sides.size());
  std::vector<double> first_s;
  for (const Side& side : sides) {
    Apply(side.settings);
    first_s.push_back(side.run());
    if (first_s.back() < kLongCall) first_s.back() = side.run();
  }
  const Stopwatch watch;
  for (int round = 0; round < repetitions.rounds; ++round) {
    if (round >= repetitions.rounds_min && watch.Seconds() > repetitions.seconds_max) break;
    for (size_t s = 0; s < sides.size(); ++s) {
      Apply(sides[s].settings);
      if (first_s[s] < kLongCall) sides[s].run();
      double sum = 0.0;
      int calls = 0;
      do {
        sum += sides[s].run();
        ++calls;
      } while (sum < repetitions.turn_s_min);
      seconds[s].push_back(sum / calls);
    }
  }
  return seconds;
}

Spread Summarise(std::vector<double> values) {
  GRAB_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double place = q * static_cast<double>(values.size() - 1);
    const auto low = static_cast<size_t>(place);
    const size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
  };
  return {quantile(0.5), values.front(), quantile(0.25), quantile(0.75), values.back()};
}

}  // namespace grab::bench
