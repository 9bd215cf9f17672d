// A figure of bench.json, and how figures are made from timings.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/harness.h"

namespace grab::bench {

// One quantity over the rounds of an Interleave.
struct Series {
  std::string name;
  std::string unit;
  std::vector<double> values;
};

Series Milliseconds(std::string name, const std::vector<double>& seconds);
Series Microseconds(std::string name, const std::vector<double>& seconds);
// `work` per call in units of 1e9, e.g. FLOPs or bytes: "GFLOP/s", "GB/s".
Series PerSecond(std::string name, std::string unit, double work,
                 const std::vector<double>& seconds);

struct Figure {
  std::string name;
  double value = 0.0;
  std::string unit;
  Spread spread;
  int rounds = 0;
  std::string conditions;                        // what was run, in words: shapes, threads, types
  std::string section;                           // heading of the table it stands in
  std::optional<Series> numerator, denominator;  // of a ratio
  std::vector<std::string> settings;             // of peers: "NAME: SETTINGS"

  nlohmann::json ToJson() const;
};

Figure Single(Series series);

// value = median of one side over the median of the other; the spread is that of the ratio round
// by round. Both series are from one Interleave.
Figure Ratio(std::string name, Series numerator, Series denominator);

}  // namespace grab::bench
