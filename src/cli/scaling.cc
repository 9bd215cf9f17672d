#include "cli/scaling.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/json_file.h"

namespace grab {

using nlohmann::json;

json ToJson(const Scaling& scaling) {
  json all = json::array();
  for (const ScaleSeries& series : scaling.series) {
    json points = json::array();
    for (const ScalePoint& point : series.points) {
      points.push_back({{"value", point.value},
                        {"auc_mean", OrNull(point.result.mean.auc)},
                        {"auc_sd", OrNull(point.result.auc_sd)},
                        {"seeds", point.result.seeds},
                        {"wall_seconds", point.result.mean.wall_seconds}});
    }
    all.push_back({{"model", series.model}, {"points", std::move(points)}});
  }
  return {{"along", ScaleAxisName(scaling.axis)}, {"series", std::move(all)}};
}

LineChart ChartOf(const Scaling& scaling) {
  LineChart chart;
  chart.title = absl::StrCat("Test AUC against ", ScaleAxisLabel(scaling.axis));
  chart.x_label = ScaleAxisLabel(scaling.axis);
  chart.y_label = "AUC, mean over seeds";
  for (const double value : scaling.values) {
    chart.x_names.push_back(ValueText(scaling.axis, value));
  }
  for (const ScaleSeries& series : scaling.series) {
    ChartSeries line;
    line.name = series.model;
    for (size_t v = 0; v < scaling.values.size(); ++v) {
      const auto point =
          std::find_if(series.points.begin(), series.points.end(),
                       [&](const ScalePoint& p) { return p.value == scaling.values[v]; });
      line.x.push_back(static_cast<double>(v));
      line.y.push_back(point == series.points.end() ? NAN : point->result.mean.auc.value_or(NAN));
    }
    chart.series.push_back(std::move(line));
  }
  return chart;
}

}  // namespace grab
