#include "bench/result.h"

#include <nlohmann/json.hpp>

#include "base/check.h"

namespace grab::bench {
namespace {

Series Scaled(std::string name, const char* unit, double scale,
              const std::vector<double>& seconds) {
  Series series{std::move(name), unit, seconds};
  for (double& value : series.values) value *= scale;
  return series;
}

nlohmann::json ToJson(const Spread& spread, int rounds) {
  return {{"min", spread.min},
          {"p25", spread.p25},
          {"p75", spread.p75},
          {"max", spread.max},
          {"rounds", rounds}};
}

nlohmann::json ToJson(const Series& series) {
  const Spread spread = Summarise(series.values);
  return {{"name", series.name},
          {"value", spread.median},
          {"unit", series.unit},
          {"spread", ToJson(spread, static_cast<int>(series.values.size()))}};
}

}  // namespace

Series Milliseconds(std::string name, const std::vector<double>& seconds) {
  return Scaled(std::move(name), "ms", 1e3, seconds);
}

Series Microseconds(std::string name, const std::vector<double>& seconds) {
  return Scaled(std::move(name), "us", 1e6, seconds);
}

Series PerSecond(std::string name, std::string unit, double work,
                 const std::vector<double>& seconds) {
  Series series{std::move(name), std::move(unit), seconds};
  for (double& value : series.values) value = work * 1e-9 / value;
  return series;
}

nlohmann::json Figure::ToJson() const {
  nlohmann::json json = {{"name", name},       {"value", value},
                         {"unit", unit},       {"spread", bench::ToJson(spread, rounds)},
                         {"section", section}, {"conditions", conditions}};
  if (numerator.has_value()) json["numerator"] = bench::ToJson(*numerator);
  if (denominator.has_value()) json["denominator"] = bench::ToJson(*denominator);
  if (!settings.empty()) json["settings"] = settings;
  return json;
}

Figure Single(Series series) {
  Figure figure;
  figure.spread = Summarise(series.values);
  figure.name = std::move(series.name);
  figure.value = figure.spread.median;
  figure.unit = std::move(series.unit);
  figure.rounds = static_cast<int>(series.values.size());
  return figure;
}

Figure Ratio(std::string name, Series numerator, Series denominator) {
  GRAB_CHECK(numerator.values.size() == denominator.values.size());
  Figure figure;
  std::vector<double> ratios;
  for (size_t i = 0; i < numerator.values.size(); ++i) {
    ratios.push_back(numerator.values[i] / denominator.values[i]);
  }
  figure.name = std::move(name);
  figure.value = Summarise(numerator.values).median / Summarise(denominator.values).median;
  figure.unit = "ratio";
  figure.rounds = static_cast<int>(ratios.size());
  figure.spread = Summarise(std::move(ratios));
  figure.numerator = std::move(numerator);
  figure.denominator = std::move(denominator);
  return figure;
}

}  // namespace grab::bench
