// Several passes over the same rows, end to end and with stages: training and validation loss as
// passes go by (GRAB, section 3.4: what Sequence-Then-Sparse is there to cure).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "bench/result.h"
#include "bench/training/runs.h"
#include "eval/line_chart.h"

namespace grab::bench {

struct CurveOptions {
  RunData data;
  std::vector<double> task_weights;  // of the config: what a training loss is the sum by
  int64_t passes = 5;
  int64_t seed = 1;
};

struct Curve {
  std::string way;
  struct Point {
    double passes = 0.0;  // over all training rows
    double loss = 0.0;    // of all tasks by their weights
    double auc = 0.0;     // validation, first task
  };
  // `train`: each point the mean over the pass it ends, of batches before they are trained on.
  std::vector<Point> train, valid;
};

StatusOr<std::vector<Curve>> TrainCurves(const CurveOptions& options);

// Per pass and way: training loss, validation loss and AUC at its end.
std::string CurvesTable(const CurveOptions& options, const std::vector<Curve>& curves);
LineChart CurvesChart(const CurveOptions& options, const std::vector<Curve>& curves);

// NAME_WAY_overfit_logloss: validation loss after the last pass less its lowest.
std::vector<Figure> CurvesFigures(const CurveOptions& options, const std::vector<Curve>& curves);

}  // namespace grab::bench
