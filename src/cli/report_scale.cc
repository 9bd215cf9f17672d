#include "cli/report_scale.h"

#include "cli/json_file.h"

namespace grab {
namespace {

using nlohmann::json;

StatusOr<json> ReadPoint(const JsonMembers& point) {
  GRAB_ASSIGN_OR_RETURN(const double value, point.Number("value"));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, point.Metric("auc_mean"));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> sd, point.Metric("auc_sd"));
  GRAB_ASSIGN_OR_RETURN(const uint64_t seeds, point.Size("seeds"));
  return json{{"value", value}, {"auc", OrNull(auc)}, {"sd", OrNull(sd)}, {"seeds", seeds}};
}

}  // namespace

StatusOr<json> ReadScaling(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const json object, ReadJsonObject(path));
  const JsonMembers whole(path, "", object);
  json scaling = {{"series", json::array()}};
  GRAB_ASSIGN_OR_RETURN(scaling["along"], whole.Text("along"));
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> all, whole.Objects("series"));
  if (all.size() > kScaleModelsMax) {
    return absl::DataLossError(absl::StrCat(path, ": 'series': expected at most ", kScaleModelsMax,
                                            " models, got ", all.size()));
  }
  for (const JsonMembers& series : all) {
    GRAB_ASSIGN_OR_RETURN(const std::string model, series.Text("model"));
    GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> read, series.Objects("points"));
    if (read.size() > kScalePointsMax) {
      return absl::DataLossError(absl::StrCat(path, ": 'points' of '", model,
                                              "': expected at most ", kScalePointsMax, ", got ",
                                              read.size()));
    }
    json points = json::array();
    for (const JsonMembers& point : read) {
      GRAB_ASSIGN_OR_RETURN(points.emplace_back(), ReadPoint(point));
    }
    scaling["series"].push_back({{"model", model}, {"points", std::move(points)}});
  }
  return scaling;
}

}  // namespace grab
