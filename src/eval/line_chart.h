// Line charts as self-contained SVG: metrics over passes, losses over steps. Greys and middle tones
// without a background, so that they read on light and on dark pages.
#pragma once

#include <string>
#include <vector>

namespace grab {

// Points of one series that are drawn at most. A longer series is cut into runs of equal length, of
// which the lowest and the highest point are kept: peaks survive, and so do gaps.
inline constexpr size_t kChartPointsMax = 1000;

struct ChartSeries {
  std::string name;
  std::vector<double> x;  // as long as y, drawn in this order
  std::vector<double> y;  // a point with NaN, or beyond 1e100, breaks the line
  bool dashed = false;    // references, say
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartSeries> series;
  std::vector<std::string> x_names = {};  // of x = 0, 1, 2, ..., a tick each; empty: x are numbers
};

// An SVG document. The axes end at round numbers that enclose every point; without a point they are
// 0 to 1. Texts may hold anything: they are escaped.
std::string RenderSvg(const LineChart& chart);

}  // namespace grab
