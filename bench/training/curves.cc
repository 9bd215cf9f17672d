#include "bench/training/curves.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"

namespace grab::bench {
namespace {

constexpr int kValidations = 4;  // per pass

std::vector<Run> Ways(const CurveOptions& options) {
  const std::vector<std::string> passes = {absl::StrCat("passes=", options.passes),
                                           absl::StrCat("validations_per_pass=", kValidations)};
  const auto way = [&](const char* name, bool restart, std::vector<std::string> settings) {
    settings.insert(settings.end(), passes.begin(), passes.end());
    settings.push_back(absl::StrCat("restart_tables=", restart ? "true" : "false"));
    return Run{name, "grab", settings, ""};
  };
  return {way("curve, end to end", false, {"mode=end_to_end"}),
          way("curve, sts", false, {"mode=sts"}),
          way("curve, sts without slices", false, {"mode=sts", "slice_s=0"}),
          way("curve, end to end, tables restarted", true, {"mode=end_to_end"}),
          way("curve, sts, tables restarted", true, {"mode=sts"})};
}

StatusOr<Curve> ReadCurve(const CurveOptions& options, const Run& run) {
  const std::string dir = RunFolder(options.data, run.name, options.seed);
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json metrics, ReadMetrics(dir));
  const double rows = Number(metrics, "train_rows").value_or(0.0);
  Curve curve{run.name.substr(std::string("curve, ").size()), {}, {}};
  std::vector<double> sum(static_cast<size_t>(options.passes));
  std::vector<int64_t> lines(sum.size());
  GRAB_RETURN_IF_ERROR(ForEachLogLine(dir, [&](const nlohmann::json& event) {
    const std::string kind = event.value("event", "");
    if (event.value("stage", "") == "sparse") return true;
    if (kind == "step") {
      const auto pass = event["pass"].get<size_t>();
      sum.at(pass) += event["loss"].get<double>();
      ++lines.at(pass);
    } else if (kind == "validation") {
      Curve::Point point;
      point.passes = event["targets"].get<double>() / rows;
      const nlohmann::json& tasks = event["metrics"]["tasks"];
      for (size_t t = 0; t < options.task_weights.size(); ++t) {
        point.loss += options.task_weights[t] * Number(tasks.at(t), "logloss").value_or(NAN);
      }
      point.auc = Number(tasks.at(0), "auc").value_or(NAN);
      curve.valid.push_back(point);
    }
    return true;
  }));
  for (size_t pass = 0; pass < sum.size(); ++pass) {
    curve.train.push_back(
        {static_cast<double>(pass + 1), sum[pass] / static_cast<double>(lines[pass]), 0.0});
  }
  return curve;
}

// The last validation within a pass.
const Curve::Point* EndOfPass(const Curve& curve, size_t pass) {
  const Curve::Point* found = nullptr;
  for (const Curve::Point& point : curve.valid) {
    if (point.passes <= static_cast<double>(pass + 1) + 0.01) found = &point;
  }
  return found;
}

}  // namespace

StatusOr<std::vector<Curve>> TrainCurves(const CurveOptions& options) {
  std::vector<Curve> curves;
  for (const Run& run : Ways(options)) {
    GRAB_RETURN_IF_ERROR(TrainRun(options.data, run, options.seed));
    GRAB_ASSIGN_OR_RETURN(Curve curve, ReadCurve(options, run));
    curves.push_back(std::move(curve));
  }
  return curves;
}

std::string CurvesTable(const CurveOptions& options, const std::vector<Curve>& curves) {
  std::string table = absl::StrCat("| ", options.data.name, ", pass |");
  std::string rule = "|---|";
  for (const Curve& curve : curves) {
    absl::StrAppend(&table, " ", curve.way, ": training | validation | AUC |");
    absl::StrAppend(&rule, "---|---|---|");
  }
  absl::StrAppend(&table, "\n", rule, "\n");
  for (size_t pass = 0; pass < static_cast<size_t>(options.passes); ++pass) {
    absl::StrAppend(&table, "| ", pass + 1, " |");
    for (const Curve& curve : curves) {
      const Curve::Point* valid = EndOfPass(curve, pass);
      absl::StrAppendFormat(&table, " %.4f |", curve.train[pass].loss);
      absl::StrAppend(&table, valid == nullptr
                                  ? " - | - |"
                                  : absl::StrFormat(" %.4f | %.4f |", valid->loss, valid->auc));
    }
    absl::StrAppend(&table, "\n");
  }
  return table;
}

LineChart CurvesChart(const CurveOptions& options, const std::vector<Curve>& curves) {
  LineChart chart{
      absl::StrCat(options.data.name, ": ", options.passes, " passes over the same rows"),
      "passes",
      "loss",
      {}};
  const auto add = [&](const Curve& curve, const char* of, const std::vector<Curve::Point>& points,
                       bool dashed) {
    ChartSeries series{absl::StrCat(curve.way, ", ", of), {}, {}, dashed};
    for (const Curve::Point& point : points) {
      series.x.push_back(point.passes);
      series.y.push_back(point.loss);
    }
    chart.series.push_back(std::move(series));
  };
  for (const Curve& curve : curves) {
    add(curve, "training", curve.train, true);
    add(curve, "validation", curve.valid, false);
  }
  return chart;
}

std::vector<Figure> CurvesFigures(const CurveOptions& options, const std::vector<Curve>& curves) {
  std::vector<Figure> figures;
  for (const Curve& curve : curves) {
    GRAB_CHECK(!curve.valid.empty());
    const auto lowest = std::min_element(
        curve.valid.begin(), curve.valid.end(),
        [](const Curve::Point& a, const Curve::Point& b) { return a.loss < b.loss; });
    const std::string way = absl::StrReplaceAll(curve.way, {{", ", "_"}, {" ", "_"}});
    Figure figure = Single({absl::StrCat(options.data.name, "_", way, "_overfit_logloss"),
                            "nats",
                            {curve.valid.back().loss - lowest->loss}});
    figure.conditions = absl::StrCat("validation loss after ", options.passes,
                                     " passes less its lowest, seed ", options.seed);
    figure.section = options.data.name;
    figures.push_back(std::move(figure));
  }
  return figures;
}

}  // namespace grab::bench
