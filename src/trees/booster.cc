#include "trees/booster.h"

#include <xgboost/c_api.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "base/check.h"

namespace grab {
namespace {

// Of a call into XGBoost, which returns 0 when all went well.
Status Of(int code, absl::string_view action) {
  if (code == 0) return absl::OkStatus();
  const absl::string_view error = XGBGetLastError();
  return absl::InternalError(absl::StrCat("XGBoost: cannot ", action, ": ", error));
}

// "[ROUND]\tvalid-logloss:NUMBER".
StatusOr<double> ParseLoss(absl::string_view text) {
  const size_t colon = text.rfind(':');
  double loss = 0.0;
  if (colon != text.npos && absl::SimpleAtod(text.substr(colon + 1), &loss)) return loss;
  return absl::InternalError(
      absl::StrCat("XGBoost: expected a log-loss of the validation targets, got '", text, "'"));
}

}  // namespace

void TreeRows::Free::operator()(void* handle) const { XGDMatrixFree(handle); }

StatusOr<TreeRows> TreeRows::Create(absl::Span<const float> values,
                                    const std::vector<std::string>& names, int threads) {
  GRAB_CHECK(!names.empty() && !values.empty() && values.size() % names.size() == 0);
  GRAB_RETURN_IF_ERROR(Of(XGBSetGlobalConfig(R"({"verbosity": 0})"), "be silenced"));
  TreeRows rows;
  rows.rows_ = values.size() / names.size();
  void* handle = nullptr;
  GRAB_RETURN_IF_ERROR(
      Of(XGDMatrixCreateFromMat_omp(values.data(), rows.rows_, names.size(),
                                    std::numeric_limits<float>::quiet_NaN(), &handle, threads),
         "copy features"));
  rows.handle_.reset(handle);
  std::vector<const char*> pointers;
  for (const std::string& name : names) pointers.push_back(name.c_str());
  GRAB_RETURN_IF_ERROR(
      Of(XGDMatrixSetStrFeatureInfo(handle, "feature_name", pointers.data(), pointers.size()),
         "name features"));
  return rows;
}

Status TreeRows::SetLabels(const std::vector<uint32_t>& labels,
                           const std::vector<uint32_t>& labels_known, size_t task) {
  GRAB_CHECK(labels.size() == rows_ && labels_known.size() == rows_);
  std::vector<float> label(rows_), weight(rows_);
  for (uint64_t i = 0; i < rows_; ++i) {
    label[i] = static_cast<float>(labels[i] >> task & 1);
    weight[i] = static_cast<float>(labels_known[i] >> task & 1);
  }
  GRAB_RETURN_IF_ERROR(
      Of(XGDMatrixSetFloatInfo(handle_.get(), "label", label.data(), rows_), "set labels"));
  return Of(XGDMatrixSetFloatInfo(handle_.get(), "weight", weight.data(), rows_), "set weights");
}

void Booster::Free::operator()(void* handle) const { XGBoosterFree(handle); }

StatusOr<Booster::Handle> Booster::Make(const TreesConfig& config, int threads,
                                        const TreeRows& train, double base_rate,
                                        const TreeRows* valid) {
  std::vector<void*> matrices = {train.handle()};
  if (valid != nullptr) matrices.push_back(valid->handle());
  void* raw = nullptr;
  GRAB_RETURN_IF_ERROR(Of(XGBoosterCreate(matrices.data(), matrices.size(), &raw), "make a model"));
  Handle handle(raw);
  constexpr double kBaseRateMin = 1e-6;
  const std::pair<const char*, std::string> parameters[] = {
      {"verbosity", "0"},
      {"objective", "binary:logistic"},
      {"eval_metric", "logloss"},
      {"tree_method", "hist"},
      {"base_score", absl::StrCat(std::clamp(base_rate, kBaseRateMin, 1.0 - kBaseRateMin))},
      {"nthread", absl::StrCat(threads)},
      {"seed", absl::StrCat(config.seed)},
      {"max_depth", absl::StrCat(config.depth_max)},
      {"eta", absl::StrCat(config.learning_rate)},
      {"min_child_weight", absl::StrCat(config.leaf_weight_min)},
      {"lambda", absl::StrCat(config.l2)},
      {"subsample", absl::StrCat(config.subsample)},
      {"colsample_bytree", absl::StrCat(config.columns_fraction)},
  };
  for (const auto& [name, value] : parameters) {
    GRAB_RETURN_IF_ERROR(
        Of(XGBoosterSetParam(raw, name, value.c_str()), absl::StrCat("set ", name, " to ", value)));
  }
  return handle;
}

StatusOr<Booster> Booster::Fit(const TreesConfig& config, int threads, const TreeRows& train,
                               double base_rate, const TreeRows* valid,
                               const std::function<void(int64_t, double)>& after_round) {
  Booster booster;
  GRAB_ASSIGN_OR_RETURN(booster.handle_, Make(config, threads, train, base_rate, valid));
  void* const handle = booster.handle_.get();
  BoosterFit& fit = booster.fit_;
  double best = std::numeric_limits<double>::infinity();
  while (fit.rounds < config.rounds_max &&
         fit.rounds - fit.best_rounds < config.early_stop_rounds) {
    const int round = static_cast<int>(fit.rounds++);
    GRAB_RETURN_IF_ERROR(Of(XGBoosterUpdateOneIter(handle, round, train.handle()), "grow a tree"));
    double loss = 0.0;
    if (valid != nullptr) {
      const char* name = "valid";
      const char* text = nullptr;
      void* matrix = valid->handle();
      GRAB_RETURN_IF_ERROR(
          Of(XGBoosterEvalOneIter(handle, round, &matrix, &name, 1, &text), "validate"));
      GRAB_ASSIGN_OR_RETURN(loss, ParseLoss(text));
    }
    if (valid == nullptr || loss < best) {
      best = loss;
      fit.best_rounds = fit.rounds;
    }
    after_round(fit.rounds, loss);
  }
  GRAB_RETURN_IF_ERROR(booster.KeepBest());
  return booster;
}

Status Booster::KeepBest() {
  if (fit_.best_rounds == 0) {
    return absl::InternalError("XGBoost: no tree has a log-loss of the validation targets");
  }
  if (fit_.best_rounds == fit_.rounds) return absl::OkStatus();
  void* best = nullptr;
  GRAB_RETURN_IF_ERROR(
      Of(XGBoosterSlice(handle_.get(), 0, static_cast<int>(fit_.best_rounds), 1, &best),
         "keep the best trees"));
  handle_.reset(best);
  return absl::OkStatus();
}

StatusOr<std::vector<float>> Booster::Logits(const TreeRows& rows) const {
  constexpr char kLogitsOfAllTrees[] =
      R"({"type": 1, "training": false, "iteration_begin": 0, "iteration_end": 0,
          "strict_shape": false})";
  const bst_ulong* shape = nullptr;
  bst_ulong dimensions = 0;
  const float* logits = nullptr;
  GRAB_RETURN_IF_ERROR(
      Of(XGBoosterPredictFromDMatrix(handle_.get(), rows.handle(), kLogitsOfAllTrees, &shape,
                                     &dimensions, &logits),
         "score"));
  if (dimensions != 1 || shape[0] != rows.rows()) {
    return absl::InternalError(absl::StrCat("XGBoost: expected ", rows.rows(),
                                            " scores in one dimension, got ", dimensions,
                                            " dimensions"));
  }
  return std::vector<float>(logits, logits + rows.rows());
}

StatusOr<uint64_t> Booster::Nodes() const {
  bst_ulong trees = 0;
  const char** texts = nullptr;
  GRAB_RETURN_IF_ERROR(Of(XGBoosterDumpModel(handle_.get(), "", 0, &trees, &texts), "list trees"));
  uint64_t nodes = 0;
  for (bst_ulong i = 0; i < trees; ++i) {
    const absl::string_view text = texts[i];
    nodes += static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));  // a line each
  }
  return nodes;
}

StatusOr<std::string> Booster::Serialized() const {
  bst_ulong size = 0;
  const char* bytes = nullptr;
  GRAB_RETURN_IF_ERROR(
      Of(XGBoosterSaveModelToBuffer(handle_.get(), R"({"format": "ubj"})", &size, &bytes),
         "write the model"));
  return std::string(bytes, size);
}

}  // namespace grab
