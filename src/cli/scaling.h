// What `grab scale` found: models against the values of an axis.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/results.h"
#include "cli/scale_axis.h"
#include "eval/line_chart.h"

namespace grab {

struct ScalePoint {
  double value = 0.0;
  ModelResult result;
};

struct ScaleSeries {
  std::string model;
  std::vector<ScalePoint> points;  // by value; those of which no run ended are not there
};

struct Scaling {
  ScaleAxis axis = ScaleAxis::kHistory;
  std::vector<double> values;  // ascending
  std::vector<ScaleSeries> series;
};

// {"along", "series": [{"model", "points": [{"value", "auc_mean", "auc_sd", "seeds",
// "wall_seconds"}]}]}; an AUC that is undefined and the deviation of one seed are null.
nlohmann::json ToJson(const Scaling& scaling);

// A line per model. Values stand at equal distances, whatever they are.
LineChart ChartOf(const Scaling& scaling);

}  // namespace grab
