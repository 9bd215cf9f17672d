// Charts: well-formed XML whatever the texts, axes at round numbers that enclose the data, every
// point where its value belongs, gaps, thinning. The reader of XML and of the axes is the test's
// own: positions are worked out from the grid lines and their texts as they stand in the SVG.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/rng.h"
#include "eval/line_chart.h"

namespace grab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;

  double Number(const std::string& key) const {
    double value = kNaN;
    EXPECT_TRUE(absl::SimpleAtod(attributes.at(key), &value)) << attributes.at(key);
    return value;
  }
};

// Only what a chart may hold: elements, quoted attributes, text, the four entities.
class XmlReader {
 public:
  explicit XmlReader(const std::string& xml) : xml_(xml) {}

  std::vector<Element> Read() {
    ReadElement();
    SkipSpace();
    EXPECT_EQ(at_, xml_.size()) << "text after the document";
    return std::move(elements_);
  }

 private:
  char Peek() const { return at_ < xml_.size() ? xml_[at_] : '\0'; }
  void SkipSpace() {
    while (Peek() == ' ' || Peek() == '\n') ++at_;
  }
  void Expect(const std::string& token) {
    ASSERT_EQ(xml_.substr(at_, token.size()), token) << "at " << at_;
    at_ += token.size();
  }
  std::string Name() {
    const size_t begin = at_;
    while (std::isalnum(static_cast<unsigned char>(Peek())) || Peek() == '-') ++at_;
    EXPECT_GT(at_, begin) << "a name at " << begin << ": " << xml_.substr(begin, 20);
    return xml_.substr(begin, at_ - begin);
  }
  std::string Text(char end) {
    std::string text;
    while (at_ < xml_.size() && Peek() != end) {
      EXPECT_GE(static_cast<unsigned char>(Peek()), '\n') << "control character at " << at_;
      EXPECT_NE(Peek(), '<') << "at " << at_;
      if (Peek() != '&') {
        text += xml_[at_++];
        continue;
      }
      bool known = false;
      for (const auto& [entity, c] :
           {std::pair{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}}) {
        if (!absl::StartsWith(absl::string_view(xml_).substr(at_), entity)) continue;
        text += c;
        at_ += std::string(entity).size();
        known = true;
        break;
      }
      EXPECT_TRUE(known) << "a bare & at " << at_;
      if (!known) ++at_;
    }
    return text;
  }
  void ReadElement() {
    Element element;
    SkipSpace();
    Expect("<");
    element.name = Name();
    for (SkipSpace(); std::isalpha(static_cast<unsigned char>(Peek())); SkipSpace()) {
      const std::string key = Name();
      Expect("=\"");
      EXPECT_TRUE(element.attributes.emplace(key, Text('"')).second) << key << " twice";
      Expect("\"");
      if (testing::Test::HasFailure()) return;
    }
    const size_t index = elements_.size();
    elements_.push_back(element);
    if (Peek() == '/') return Expect("/>");
    Expect(">");
    elements_[index].text = Text('<');
    while (absl::StartsWith(absl::string_view(xml_).substr(at_), "<") &&
           !absl::StartsWith(absl::string_view(xml_).substr(at_), "</")) {
      ReadElement();
      if (testing::Test::HasFailure()) return;
      SkipSpace();
    }
    Expect("</" + element.name + ">");
  }

  const std::string& xml_;
  size_t at_ = 0;
  std::vector<Element> elements_;
};

// One axis as drawn: places of its grid lines and the numbers beside them.
struct DrawnAxis {
  std::vector<double> places;
  std::vector<double> ticks;

  double Place(double value) const {
    const double share = (value - ticks.front()) / (ticks.back() - ticks.front());
    return places.front() + share * (places.back() - places.front());
  }
};

struct Drawn {
  std::vector<Element> elements;
  DrawnAxis x, y;
  std::vector<std::vector<std::pair<double, double>>> lines;
  std::vector<std::pair<double, double>> dots;
};

Drawn Draw(const LineChart& chart) {
  Drawn drawn;
  const std::string svg = RenderSvg(chart);
  drawn.elements = XmlReader(svg).Read();
  for (const Element& element : drawn.elements) {
    if (element.name == "line" && element.attributes.count("class") > 0) {
      const bool vertical = element.Number("x1") == element.Number("x2");
      (vertical ? drawn.x : drawn.y).places.push_back(element.Number(vertical ? "x1" : "y1"));
    } else if (element.name == "circle") {
      drawn.dots.emplace_back(element.Number("cx"), element.Number("cy"));
    } else if (element.name == "polyline") {
      drawn.lines.emplace_back();
      for (absl::string_view point : absl::StrSplit(element.attributes.at("points"), ' ')) {
        const std::vector<std::string> xy = absl::StrSplit(point, ',');
        EXPECT_EQ(xy.size(), 2u);
        drawn.lines.back().emplace_back(std::stod(xy[0]), std::stod(xy[1]));
      }
    }
  }
  // Texts stand in the order: title, x label, y label, x ticks, y ticks, legend.
  std::vector<std::string> texts;
  for (const Element& element : drawn.elements) {
    if (element.name == "text") texts.push_back(element.text);
  }
  const size_t ticks = drawn.x.places.size() + drawn.y.places.size();
  EXPECT_EQ(texts.size(), 3 + ticks + chart.series.size());
  EXPECT_EQ(texts[0], chart.title);
  for (size_t i = 0; i < ticks; ++i) {
    double value = kNaN;
    EXPECT_TRUE(absl::SimpleAtod(texts[3 + i], &value)) << texts[3 + i];
    (i < drawn.x.places.size() ? drawn.x : drawn.y).ticks.push_back(value);
  }
  return drawn;
}

// Ticks ascend by one step, which is 1, 2 or 5 times a power of ten, and enclose [min, max].
void ExpectRound(const DrawnAxis& axis, double min, double max) {
  ASSERT_GE(axis.ticks.size(), 2u);
  EXPECT_LE(axis.ticks.size(), 12u);
  const double step = axis.ticks[1] - axis.ticks[0];
  for (size_t i = 1; i < axis.ticks.size(); ++i) {
    EXPECT_NEAR(axis.ticks[i] - axis.ticks[i - 1], step, 1e-6 * step);
  }
  const double digit = step / std::pow(10.0, std::floor(std::log10(step * (1 + 1e-9))));
  EXPECT_TRUE(std::abs(digit - 1) < 1e-6 || std::abs(digit - 2) < 1e-6 ||
              std::abs(digit - 5) < 1e-6)
      << step;
  EXPECT_LE(axis.ticks.front(), min + 1e-6 * step);
  EXPECT_GE(axis.ticks.back(), max - 1e-6 * step);
}

// Sizes from millionths to millions, around zero and far from it; 2 to 40 points in 1 to 9 series.
// Places are given to a hundredth of a pixel.
TEST(LineChart, PointsStandWhereTheTicksSay) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const double scale = std::pow(10.0, static_cast<double>(rng.Below(12)) - 6);
    const double offset = rng.Bernoulli(0.5) ? 0.0 : 5 * scale * rng.Normal();
    LineChart chart{"title", "x", "y", {}};
    double y_min = 1e300;
    double y_max = -1e300;
    const size_t points = 2 + rng.Below(39);
    for (uint64_t s = 1 + rng.Below(9); s > 0; --s) {
      ChartSeries series;
      series.name = "series";
      for (size_t i = 0; i < points; ++i) {
        series.x.push_back(static_cast<double>(i));
        series.y.push_back(offset + scale * rng.Normal());
        y_min = std::min(y_min, series.y.back());
        y_max = std::max(y_max, series.y.back());
      }
      chart.series.push_back(std::move(series));
    }
    const Drawn drawn = Draw(chart);
    ExpectRound(drawn.x, 0, static_cast<double>(points - 1));
    ExpectRound(drawn.y, y_min, y_max);
    ASSERT_EQ(drawn.lines.size(), chart.series.size());
    for (size_t s = 0; s < drawn.lines.size(); ++s) {
      ASSERT_EQ(drawn.lines[s].size(), points);
      for (size_t i = 0; i < points; ++i) {
        const auto& [x, y] = drawn.lines[s][i];
        EXPECT_NEAR(x, drawn.x.Place(chart.series[s].x[i]), 0.02);
        EXPECT_NEAR(y, drawn.y.Place(chart.series[s].y[i]), 0.02);
        EXPECT_GE(x, drawn.x.places.front());
        EXPECT_LE(x, drawn.x.places.back());
        EXPECT_LE(y, drawn.y.places.front()) << "down is more";
        EXPECT_GE(y, drawn.y.places.back());
      }
    }
  }
}

TEST(LineChart, WithoutPointsThereAreAxes) {
  for (const LineChart& chart :
       {LineChart{"empty", "x", "y", {}}, LineChart{"empty", "x", "y", {{"none", {}, {}}}},
        LineChart{"empty", "x", "y", {{"nan", {1, kNaN}, {kNaN, 2}}}}}) {
    const Drawn drawn = Draw(chart);
    ExpectRound(drawn.x, 0, 1);
    ExpectRound(drawn.y, 0, 1);
    EXPECT_THAT(drawn.lines, IsEmpty());
    EXPECT_THAT(drawn.dots, IsEmpty());
  }
}

TEST(LineChart, OnePointIsADot) {
  for (const double value : {0.0, 0.75, -3e6, 1e-9}) {
    const Drawn drawn = Draw({"one", "x", "y", {{"s", {7}, {value}}}});
    ASSERT_THAT(drawn.dots, SizeIs(1)) << value;
    EXPECT_GT(drawn.dots[0].first, drawn.x.places.front());
    EXPECT_LT(drawn.dots[0].first, drawn.x.places.back());
    EXPECT_LT(drawn.dots[0].second, drawn.y.places.front());
    EXPECT_GT(drawn.dots[0].second, drawn.y.places.back());
    EXPECT_LT(drawn.y.ticks.front(), drawn.y.ticks.back());
  }
}

// Values far from linear at equal distances: a tick per name, and each point at its own; names
// beyond the points widen the axis, one name alone is an axis too.
TEST(LineChart, NamesStandAtEqualDistances) {
  LineChart chart{"names", "x", "y", {{"s", {0, 1, 2}, {1, 3, 2}}}, {"0", "8", "64", "2048"}};
  const Drawn drawn = Draw(chart);
  EXPECT_THAT(drawn.x.ticks, ElementsAre(0, 8, 64, 2048));
  ASSERT_THAT(drawn.x.places, SizeIs(4));
  ASSERT_THAT(drawn.lines, ElementsAre(SizeIs(3)));
  const double step = drawn.x.places[1] - drawn.x.places[0];
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(drawn.x.places[i + 1] - drawn.x.places[i], step, 0.02);
    EXPECT_NEAR(drawn.lines[0][i].first, drawn.x.places[i], 0.02);
  }
  chart.x_names = {"8"};
  EXPECT_THAT(RenderSvg(chart), HasSubstr(">8</text>"));
}

TEST(LineChart, NaNBreaksTheLine) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Drawn drawn = Draw(
      {"gaps", "x", "y", {{"s", {0, 1, 2, 3, 4, 5, 6, 7}, {1, 2, kNaN, 3, infinity, 1, 2, 2}}}});
  ASSERT_THAT(drawn.lines, ElementsAre(SizeIs(2), SizeIs(3)));
  ASSERT_THAT(drawn.dots, SizeIs(1));
  EXPECT_NEAR(drawn.dots[0].first, drawn.x.Place(3), 0.02);
  ExpectRound(drawn.y, 1, 3);
}

// A long series with one peak, one trough and one gap: all three must be seen.
TEST(LineChart, ThinningKeepsPeaksAndGaps) {
  for (const size_t points : {kChartPointsMax, kChartPointsMax + 1, size_t{123457}}) {
    ChartSeries series;
    series.name = "long";
    for (size_t i = 0; i < points; ++i) {
      series.x.push_back(static_cast<double>(i));
      series.y.push_back(std::sin(static_cast<double>(i)));
    }
    series.y[points / 3] = 50;
    series.y[points / 2] = -50;
    series.y[2 * points / 3] = kNaN;
    const Drawn drawn = Draw({"long", "x", "y", {series}});
    size_t kept = drawn.dots.size();
    double top = 1e9;
    double bottom = -1e9;
    for (const auto& line : drawn.lines) {
      kept += line.size();
      for (size_t i = 0; i < line.size(); ++i) {
        EXPECT_LT(line[i == 0 ? 0 : i - 1].first, line[i].first + 0.01) << "in order";
        top = std::min(top, line[i].second);
        bottom = std::max(bottom, line[i].second);
      }
    }
    EXPECT_LE(kept, kChartPointsMax);
    EXPECT_GE(kept, kChartPointsMax / 2);
    EXPECT_NEAR(top, drawn.y.Place(50), 0.02);
    EXPECT_NEAR(bottom, drawn.y.Place(-50), 0.02);
    EXPECT_THAT(drawn.lines, SizeIs(2));
  }
}

TEST(LineChart, TextsAreEscapedAndReferencesDashed) {
  const std::string wild = "a<b> & \"c\" 'd' \x01 caf\xc3\xa9";
  LineChart chart{wild, "x & y", "<", {{"</svg>", {0, 1}, {0, 1}}, {"ref", {0, 1}, {1, 1}, true}}};
  chart.title[chart.title.find('\x01')] = ' ';
  const Drawn drawn = Draw(chart);
  std::string with_control = RenderSvg({wild, "", "", {}});
  EXPECT_EQ(with_control.find('\x01'), std::string::npos);
  std::vector<bool> dashed;
  for (const Element& element : drawn.elements) {
    if (element.name == "polyline") {
      dashed.push_back(element.attributes.count("stroke-dasharray") > 0);
    }
  }
  EXPECT_THAT(dashed, ElementsAre(false, true));
  EXPECT_THAT(RenderSvg(chart), Not(HasSubstr("</svg>\"")));
  EXPECT_EQ(drawn.elements.back().text, "ref");
}

}  // namespace
}  // namespace grab
