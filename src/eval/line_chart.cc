#include "eval/line_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"

namespace grab {
namespace {

constexpr double kWidth = 720.0;
constexpr double kPlotLeft = 80.0;
constexpr double kPlotRight = 700.0;
constexpr double kPlotTop = 44.0;
constexpr double kPlotBottom = 324.0;
constexpr double kLegendTop = 388.0;
constexpr double kLegendRow = 20.0;
constexpr double kTickSteps = 6.0;    // about as many per axis
constexpr double kNumberMax = 1e100;  // far from where differences overflow
constexpr const char* kColours[] = {"#3b82c4", "#d9822b", "#3fa35b", "#c4527a",
                                    "#8a6fc9", "#a08a2c", "#2ca0a0", "#b05a3c"};

struct Point {
  double x = 0.0;
  double y = 0.0;
  // NaN compares false.
  bool finite() const { return std::abs(x) <= kNumberMax && std::abs(y) <= kNumberMax; }
};

// From a round number to a round number, with a tick at each step.
struct Axis {
  double from = 0.0;
  double step = 1.0;
  int64_t steps = 1;

  double to() const { return from + step * static_cast<double>(steps); }
  double Share(double value) const { return (value - from) / (to() - from); }
};

// The smallest of 1, 2 and 5 times a power of ten that is at least `value`, but for rounding.
double RoundUp(double value) {
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value * (1.0 - 1e-9)) return factor * power;
  }
  return 10.0 * power;
}

Axis MakeAxis(double min, double max) {
  if (min > max) return {0.0, 0.2, 5};
  // Values closer than this share of their size differ by little more than rounding.
  constexpr double kSpreadMin = 1e-6;
  const double size = std::max(std::abs(min), std::abs(max));
  if (max - min <= kSpreadMin * size || size == 0.0) {
    const double spread = size == 0.0 ? 1.0 : 0.1 * size;
    min -= spread;
    max += spread;
  }
  Axis axis;
  axis.step = RoundUp((max - min) / kTickSteps);
  const double first = std::floor(min / axis.step + 1e-9);
  const double last = std::ceil(max / axis.step - 1e-9);
  axis.from = first * axis.step;
  axis.steps = static_cast<int64_t>(std::max(1.0, last - first));
  return axis;
}

std::string TickText(const Axis& axis, int64_t tick) {
  const double value = axis.from + axis.step * static_cast<double>(tick);
  const double decimals = -std::floor(std::log10(axis.step) + 1e-9);
  if (decimals > 6.0 || std::abs(value) >= 1e7) return absl::StrFormat("%.6g", value);
  // The sum may miss zero by rounding, and must not be "-0".
  const double shown = std::abs(value) < 1e-9 * axis.step ? 0.0 : value;
  return absl::StrFormat("%.*f", static_cast<int>(std::max(0.0, decimals)), shown);
}

// A tick for each of `count` names, at 0, 1, 2, ...
Axis NamedAxis(size_t count) {
  return {0.0, 1.0, std::max<int64_t>(1, static_cast<int64_t>(count) - 1)};
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:  // XML has no place for control characters
        escaped += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return escaped;
}

// At most kChartPointsMax points, in order.
std::vector<Point> Thin(const std::vector<Point>& points) {
  if (points.size() <= kChartPointsMax) return points;
  constexpr size_t kPerRun = 3;  // lowest, highest, gap
  const size_t runs = kChartPointsMax / kPerRun;
  std::vector<Point> kept;
  for (size_t run = 0; run < runs; ++run) {
    const size_t begin = run * points.size() / runs;
    const size_t end = (run + 1) * points.size() / runs;
    size_t low = end;
    size_t high = end;
    size_t gap = end;
    for (size_t i = begin; i < end; ++i) {
      if (!points[i].finite()) {
        gap = i;
        continue;
      }
      if (low == end || points[i].y < points[low].y) low = i;
      if (high == end || points[i].y > points[high].y) high = i;
    }
    size_t chosen[] = {low, high, gap};
    std::sort(std::begin(chosen), std::end(chosen));
    for (size_t c = 0; c < std::size(chosen); ++c) {
      if (chosen[c] < end && (c == 0 || chosen[c] != chosen[c - 1])) {
        kept.push_back(points[chosen[c]]);
      }
    }
  }
  return kept;
}

std::vector<std::vector<Point>> ThinnedSeries(const LineChart& chart) {
  std::vector<std::vector<Point>> lines;
  for (const ChartSeries& series : chart.series) {
    GRAB_CHECK(series.x.size() == series.y.size());
    std::vector<Point> points;
    for (size_t i = 0; i < series.x.size(); ++i) points.push_back({series.x[i], series.y[i]});
    lines.push_back(Thin(points));
  }
  return lines;
}

class Writer {
 public:
  Writer(const Axis& x, const Axis& y, size_t series) : x_(x), y_(y) {
    const double height = kLegendTop + kLegendRow * static_cast<double>(series);
    absl::StrAppendFormat(&svg_,
                          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
                          "viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" font-size=\"12\">\n",
                          kWidth, height, kWidth, height);
  }

  void Labels(const LineChart& chart) {
    const double centre = (kPlotLeft + kPlotRight) / 2;
    const double middle = (kPlotTop + kPlotBottom) / 2;
    Text(centre, 24, "middle", chart.title, "font-size=\"15\" font-weight=\"bold\"");
    Text(centre, kPlotBottom + 42, "middle", chart.x_label, "");
    Text(20, middle, "middle", chart.y_label,
         absl::StrFormat("transform=\"rotate(-90 20 %g)\"", middle));
  }

  void Axes(const std::vector<std::string>& x_names) {
    const auto x_text = [&](int64_t tick) {
      if (x_names.empty()) return TickText(x_, tick);
      const auto name = static_cast<size_t>(tick);
      return name < x_names.size() ? x_names[name] : std::string();
    };
    for (int64_t tick = 0; tick <= x_.steps; ++tick) {
      const double at = Across(x_.from + x_.step * static_cast<double>(tick));
      Line(at, kPlotTop, at, kPlotBottom, "class=\"grid\" stroke=\"#808080\" opacity=\"0.25\"");
      Text(at, kPlotBottom + 18, "middle", x_text(tick), "");
    }
    for (int64_t tick = 0; tick <= y_.steps; ++tick) {
      const double at = Down(y_.from + y_.step * static_cast<double>(tick));
      Line(kPlotLeft, at, kPlotRight, at, "class=\"grid\" stroke=\"#808080\" opacity=\"0.25\"");
      Text(kPlotLeft - 8, at + 4, "end", TickText(y_, tick), "");
    }
  }

  // Unbroken stretches as lines, points on their own as dots.
  void Series(const std::vector<Point>& points, const std::string& style, const char* colour) {
    for (size_t begin = 0; begin < points.size();) {
      size_t end = begin;
      while (end < points.size() && points[end].finite()) ++end;
      if (end == begin + 1) {
        absl::StrAppendFormat(&svg_, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3\" fill=\"%s\"/>\n",
                              Across(points[begin].x), Down(points[begin].y), colour);
      } else if (end > begin) {
        absl::StrAppend(&svg_, "<polyline fill=\"none\" ", style, " points=\"");
        for (size_t i = begin; i < end; ++i) {
          absl::StrAppendFormat(&svg_, "%s%.2f,%.2f", i == begin ? "" : " ", Across(points[i].x),
                                Down(points[i].y));
        }
        absl::StrAppend(&svg_, "\"/>\n");
      }
      begin = end + 1;
    }
  }

  void Legend(size_t row, const std::string& name, const std::string& style) {
    const double at = kLegendTop + kLegendRow * static_cast<double>(row);
    Line(kPlotLeft, at, kPlotLeft + 28, at, style);
    Text(kPlotLeft + 36, at + 4, "start", name, "");
  }

  std::string Finish() && { return std::move(svg_) + "</svg>\n"; }

 private:
  double Across(double x) const { return kPlotLeft + (kPlotRight - kPlotLeft) * x_.Share(x); }
  double Down(double y) const { return kPlotBottom - (kPlotBottom - kPlotTop) * y_.Share(y); }

  void Text(double x, double y, const char* anchor, const std::string& text,
            const std::string& attributes) {
    absl::StrAppendFormat(&svg_, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\" fill=\"#808080\"",
                          x, y, anchor);
    absl::StrAppend(&svg_, attributes.empty() ? "" : " ", attributes, ">", Escape(text),
                    "</text>\n");
  }

  void Line(double x1, double y1, double x2, double y2, const std::string& style) {
    absl::StrAppendFormat(&svg_, "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" %s/>\n", x1,
                          y1, x2, y2, style);
  }

  Axis x_;
  Axis y_;
  std::string svg_;
};

}  // namespace

std::string RenderSvg(const LineChart& chart) {
  const std::vector<std::vector<Point>> lines = ThinnedSeries(chart);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Point min = {kInfinity, kInfinity};
  Point max = {-kInfinity, -kInfinity};
  for (const std::vector<Point>& line : lines) {
    for (const Point& point : line) {
      if (!point.finite()) continue;
      min = {std::min(min.x, point.x), std::min(min.y, point.y)};
      max = {std::max(max.x, point.x), std::max(max.y, point.y)};
    }
  }
  const Axis x = chart.x_names.empty() ? MakeAxis(min.x, max.x) : NamedAxis(chart.x_names.size());
  Writer writer(x, MakeAxis(min.y, max.y), lines.size());
  writer.Labels(chart);
  writer.Axes(chart.x_names);
  for (size_t s = 0; s < lines.size(); ++s) {
    const char* colour = kColours[s % std::size(kColours)];
    const std::string style =
        absl::StrFormat("stroke=\"%s\" stroke-width=\"2\"%s", colour,
                        chart.series[s].dashed ? " stroke-dasharray=\"6 4\"" : "");
    writer.Series(lines[s], style, colour);
    writer.Legend(s, chart.series[s].name, style);
  }
  return std::move(writer).Finish();
}

}  // namespace grab
