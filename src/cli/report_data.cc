#include "cli/report_data.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/file.h"
#include "base/hash.h"
#include "cli/json_file.h"
#include "cli/report_attention.h"
#include "cli/report_profile.h"
#include "cli/report_runs.h"
#include "cli/report_scale.h"
#include "cli/report_training.h"
#include "config/config.h"

namespace grab {
namespace {

using nlohmann::json;

using Sections = std::vector<std::string>;

constexpr uint64_t kLogBytesMax = 1 << 30;
constexpr char kNotInMeans[] = "the run is left out of the means over seeds";

// A model of the comparison, with its runs in the order of its seeds.
struct ModelRuns {
  std::string model;
  std::vector<int64_t> seeds;
  std::vector<std::vector<FieldSlices>> slices;
  std::vector<ScoreCurves> scores;
};

class ReportReader {
 public:
  ReportReader(std::string dir, Progress& progress) : dir_(std::move(dir)), progress_(progress) {}

  StatusOr<json> Read();

 private:
  Status ReadComparison();
  Status ReadRun(ModelRuns& model, int64_t seed);
  Status ReadSlices(const std::string& run, ModelRuns& model);
  Status ReadScoreFile(const std::string& run, ModelRuns& model);
  Status ReadLog(const std::string& run, const std::string& model, int64_t seed);
  Status ReadAttentionOfGrab();
  Status ReadConfig();
  Status ReadShards();
  void AddSlices();
  void AddScores();

  std::string Path(const std::string& name) const { return JoinPath(dir_, name); }
  // Whether the file is there; if not, a note says what the sections lack.
  bool Has(const std::string& name, const Sections& sections, const std::string& lacking);
  void Note(const Sections& sections, const std::string& text) {
    report_["notes"].push_back({{"sections", sections}, {"text", text}});
  }

  std::string dir_;
  Progress& progress_;
  json report_ = {{"notes", json::array()}};
  std::vector<ModelRuns> models_;
  std::vector<std::string> item_fields_;
  // Of the first run that has them; all others must agree.
  std::vector<FieldSlices> first_slices_;
  TimeBins test_bins_;
  std::vector<AucPoint> first_over_time_;
};

json Values(const OptionalSeries& series) {
  json values = json::array();
  for (const std::optional<double>& value : series) {
    values.push_back(value ? json(*value) : json(nullptr));
  }
  return values;
}

json BeginsMs(const TimeBins& bins) {
  json begins = json::array();
  for (size_t b = 0; b < bins.count; ++b) begins.push_back(bins.Begin(b));
  return begins;
}

bool ReportReader::Has(const std::string& name, const Sections& sections,
                       const std::string& lacking) {
  if (Exists(Path(name))) return true;
  Note(sections, absl::StrCat(name, " is not there: ", lacking));
  return false;
}

StatusOr<json> ReportReader::Read() {
  GRAB_RETURN_IF_ERROR(ReadComparison());
  if (const std::string scale = Path("scale.json"); Exists(scale)) {
    GRAB_ASSIGN_OR_RETURN(report_["scale"], ReadScaling(scale));
  }
  size_t runs = 0, done = 0;
  for (const ModelRuns& model : models_) runs += model.seeds.size();
  progress_.Begin("read runs", "runs", runs);
  for (ModelRuns& model : models_) {
    for (const int64_t seed : model.seeds) {
      GRAB_RETURN_IF_ERROR(ReadRun(model, seed));
      progress_.Update(++done, "");
    }
  }
  progress_.End("");
  AddSlices();
  AddScores();
  GRAB_RETURN_IF_ERROR(ReadAttentionOfGrab());
  GRAB_RETURN_IF_ERROR(ReadConfig());
  GRAB_RETURN_IF_ERROR(ReadShards());
  return std::move(report_);
}

// What the page's table reads is checked here, so that a damaged file is an error and not a hole.
Status ReportReader::ReadComparison() {
  const std::string path = Path("comparison.json");
  if (!Exists(path)) {
    return absl::NotFoundError(absl::StrCat(
        path, ": is not there; expected the folder of a finished `grab compare`, got '", dir_,
        "'"));
  }
  GRAB_ASSIGN_OR_RETURN(json object, ReadJsonObject(path));
  const JsonMembers whole(path, "", object);
  GRAB_RETURN_IF_ERROR(whole.Text("reference").status());
  GRAB_RETURN_IF_ERROR(whole.Text("rows_hash").status());
  GRAB_ASSIGN_OR_RETURN(const JsonMembers hardware, whole.Object("hardware"));
  GRAB_RETURN_IF_ERROR(hardware.Text("cpu").status());
  GRAB_RETURN_IF_ERROR(hardware.Count("threads").status());
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> failed, whole.Objects("failed"));
  for (const JsonMembers& run : failed) {
    for (const char* key : {"model", "error"}) GRAB_RETURN_IF_ERROR(run.Text(key).status());
    GRAB_RETURN_IF_ERROR(run.Integer("seed").status());
  }
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> models, whole.Objects("models"));
  for (const JsonMembers& model : models) {
    ModelRuns& runs = models_.emplace_back();
    GRAB_ASSIGN_OR_RETURN(runs.model, model.Text("model"));
    GRAB_RETURN_IF_ERROR(model.Text("gauc_by").status());
    for (const char* key : {"auc", "gauc", "logloss", "pcoc"}) {
      GRAB_RETURN_IF_ERROR(model.Metric(key).status());
    }
    for (const char* key : {"dense_weights", "table_bytes", "train_rows", "test_rows"}) {
      GRAB_RETURN_IF_ERROR(model.Count(key).status());
    }
    for (const char* key : {"wall_seconds", "scores_per_second"}) {
      GRAB_RETURN_IF_ERROR(model.Number(key).status());
    }
    if (model.Has("auc_streaming")) GRAB_RETURN_IF_ERROR(model.Number("auc_streaming").status());
    GRAB_ASSIGN_OR_RETURN(runs.seeds, model.Integers("seeds"));
  }
  report_["comparison"] = std::move(object);
  return absl::OkStatus();
}

Status ReportReader::ReadRun(ModelRuns& model, int64_t seed) {
  const std::string run = absl::StrCat(model.model, "-seed", seed);
  GRAB_RETURN_IF_ERROR(ReadSlices(run, model));
  GRAB_RETURN_IF_ERROR(ReadScoreFile(run, model));
  return ReadLog(run, model.model, seed);
}

Status ReportReader::ReadSlices(const std::string& run, ModelRuns& model) {
  const std::string name = JoinPath(run, "metrics.json");
  const Sections sections = {"history", "pcoc"};
  if (!Has(name, sections, kNotInMeans)) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(std::vector<FieldSlices> fields, ReadFieldSlices(Path(name)));
  if (fields.empty()) {
    Note(sections, absl::StrCat(name, " has no slices: ", kNotInMeans));
    return absl::OkStatus();
  }
  if (first_slices_.empty()) first_slices_ = fields;
  const auto same = [](const FieldSlices& a, const FieldSlices& b) {
    return a.field == b.field && a.labels == b.labels && a.rows == b.rows;
  };
  if (!std::equal(fields.begin(), fields.end(), first_slices_.begin(), first_slices_.end(), same)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Path(name), ": 'test.fields': expected the slices and rows of the other runs"));
  }
  model.slices.push_back(std::move(fields));
  return absl::OkStatus();
}

Status ReportReader::ReadScoreFile(const std::string& run, ModelRuns& model) {
  const std::string name = JoinPath(run, "test_scores.csv");
  if (!Has(name, {"over_time", "calibration"}, kNotInMeans)) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const ScoreTable table, ReadScores(Path(name)));
  if (test_bins_.count == 0) {
    const StatusOr<TimeBins> bins = TestTimeBins(table);
    if (!bins.ok()) return Annotate(bins.status(), Path(name));
    test_bins_ = *bins;
  }
  StatusOr<ScoreCurves> curves = ReduceScores(table, test_bins_);
  if (!curves.ok()) return Annotate(curves.status(), Path(name));
  if (first_over_time_.empty()) first_over_time_ = curves->over_time;
  const auto same = [](const AucPoint& a, const AucPoint& b) {
    return a.rows == b.rows && a.positives == b.positives;
  };
  if (!std::equal(curves->over_time.begin(), curves->over_time.end(), first_over_time_.begin(),
                  same)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Path(name), ": expected the test rows of the other runs, got others"));
  }
  model.scores.push_back(std::move(*curves));
  return absl::OkStatus();
}

Status ReportReader::ReadLog(const std::string& run, const std::string& model, int64_t seed) {
  const std::string name = JoinPath(run, "log.jsonl");
  if (!Has(name, {"training"}, "the run has no curve")) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(Path(name), kLogBytesMax));
  GRAB_ASSIGN_OR_RETURN(const TrainingCurves curves, ParseRunLog(text, Path(name)));
  if (curves.table_steps > 0) {
    Note({"training"}, absl::StrCat(run, ": ", curves.table_steps,
                                    " log lines of steps that train tables only are left out"));
  }
  const auto points = [](const std::vector<TrainingPoint>& curve) {
    json pairs = json::array();
    for (const TrainingPoint& point : curve) pairs.push_back({point.rows, point.value});
    return pairs;
  };
  report_["training"].push_back({{"model", model},
                                 {"seed", seed},
                                 {"loss", points(curves.loss)},
                                 {"valid_auc", points(curves.valid_auc)}});
  return absl::OkStatus();
}

// Slices are named by keys, and a key is the hash of an id: those of small numbers are told.
std::string SliceLabel(const std::string& field, const std::string& label) {
  static const auto* const kNames = [] {
    constexpr int64_t kNumbers = 10000;
    auto* names = new std::map<std::string, std::string>;
    for (int64_t i = 0; i < kNumbers; ++i) {
      names->emplace(absl::StrCat(HashId(i)), absl::StrCat(i));
    }
    return names;
  }();
  if (field == "history_len") return label;
  const auto found = kNames->find(label);
  return found == kNames->end() ? label : found->second;
}

void ReportReader::AddSlices() {
  for (size_t f = 0; f < std::min(first_slices_.size(), kSlicedFieldsShownMax); ++f) {
    const FieldSlices& field = first_slices_[f];
    json labels = json::array();
    for (const std::string& label : field.labels) labels.push_back(SliceLabel(field.field, label));
    json auc = json::array(), pcoc = json::array();
    for (const ModelRuns& model : models_) {
      if (model.slices.empty()) continue;
      std::vector<OptionalSeries> aucs, pcocs;
      for (const std::vector<FieldSlices>& run : model.slices) {
        aucs.push_back(run[f].auc);
        pcocs.push_back(run[f].pcoc);
      }
      auc.push_back({{"model", model.model}, {"values", Values(MeanOverRuns(aucs))}});
      pcoc.push_back({{"model", model.model}, {"values", Values(MeanOverRuns(pcocs))}});
    }
    report_["pcoc"].push_back(
        {{"field", field.field}, {"labels", labels}, {"rows", field.rows}, {"series", pcoc}});
    if (field.field != "history_len") continue;
    report_["history"] = {{"labels", labels}, {"rows", field.rows}, {"series", auc}};
  }
  if (first_slices_.size() > kSlicedFieldsShownMax) {
    Note({"pcoc"}, absl::StrCat("of ", first_slices_.size(), " sliced fields the first ",
                                kSlicedFieldsShownMax, " are shown"));
  }
}

// Runs over the same rows have calibration bins of the same numbers of rows.
json MeanCalibration(const std::vector<ScoreCurves>& runs) {
  json points = json::array();
  const auto count = static_cast<double>(runs.size());
  for (size_t b = 0; b < runs[0].calibration.size(); ++b) {
    double p = 0.0, rate = 0.0;
    for (const ScoreCurves& run : runs) {
      p += run.calibration[b].p_mean;
      rate += run.calibration[b].label_mean;
    }
    points.push_back(
        {{"p", p / count}, {"rate", rate / count}, {"rows", runs[0].calibration[b].rows}});
  }
  return points;
}

void ReportReader::AddScores() {
  if (first_over_time_.empty()) return;
  json rows = json::array(), series = json::array();
  for (const AucPoint& point : first_over_time_) rows.push_back(point.rows);
  for (const ModelRuns& model : models_) {
    if (model.scores.empty()) continue;
    report_["task"] = model.scores[0].task;
    std::vector<OptionalSeries> aucs;
    for (const ScoreCurves& run : model.scores) {
      OptionalSeries& auc = aucs.emplace_back();
      for (const AucPoint& point : run.over_time) auc.push_back(point.auc);
    }
    series.push_back({{"model", model.model}, {"values", Values(MeanOverRuns(aucs))}});
    report_["calibration"].push_back(
        {{"model", model.model}, {"points", MeanCalibration(model.scores)}});
  }
  report_["over_time"] = {{"begin_ms", BeginsMs(test_bins_)}, {"rows", rows}, {"series", series}};
}

// Of a comparison without a GRAB there is none to miss.
Status ReportReader::ReadAttentionOfGrab() {
  const bool grab = std::any_of(models_.begin(), models_.end(), [](const ModelRuns& model) {
    return model.model == ModelKindName(ModelKind::kGrab);
  });
  if (!grab && !Exists(Path(kAttentionFile))) return absl::OkStatus();
  if (!Has(kAttentionFile, {"attention"}, "where GRAB looks is not known; grab attention tells")) {
    return absl::OkStatus();
  }
  GRAB_ASSIGN_OR_RETURN(const AttentionMass mass, ReadAttention(Path(kAttentionFile)));
  const std::string expected = report_["comparison"]["rows_hash"];
  if (mass.rows_hash != expected) {
    return absl::InvalidArgumentError(absl::StrCat(Path(kAttentionFile), ": 'rows_hash': expected ",
                                                   expected, " as in comparison.json, got ",
                                                   mass.rows_hash));
  }
  const AttentionMass shown = ShownAttention(mass);
  const bool all = shown.channels.size() == mass.channels.size() &&
                   (shown.channels.empty() ||
                    shown.channels[0].self.mass.size() == mass.channels[0].self.mass.size());
  if (!all) {
    Note({"attention"}, absl::StrCat("the first ", kAttentionChannelsShownMax, " channels and ",
                                     kAttentionLayersShownMax, " layers are shown"));
  }
  report_["attention"] = ToJson(shown);
  return absl::OkStatus();
}

// The effective config of the comparison says which fields describe the item. One that this version
// of grab cannot read, because another wrote it, costs no more than that.
Status ReportReader::ReadConfig() {
  if (!Has("config.toml", {"cold"}, "which fields are the item's is not known")) {
    return absl::OkStatus();
  }
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(Path("config.toml"), kConfigBytesMax));
  const StatusOr<Config> config = ParseConfig(text, "config.toml", {});
  if (!config.ok()) {
    Note({"cold"},
         absl::StrCat(config.status().message(), ": which fields are the item's is not known"));
    return absl::OkStatus();
  }
  report_["name"] = config->name;
  for (const FieldConfig& field : config->fields) {
    if (field.kind != "id" || field.role != "item") continue;
    if (item_fields_.size() < kColdFieldsShownMax) item_fields_.push_back(field.name);
  }
  return absl::OkStatus();
}

json UsersByEvents(const std::vector<uint64_t>& users) {
  json bins = json::array();
  for (size_t b = 0; b < users.size(); ++b) {
    const uint64_t from = uint64_t{1} << b;
    bins.push_back({{"from", from}, {"to", 2 * from - 1}, {"users", users[b]}});
  }
  return bins;
}

json LabelRates(const DataProfile& profile) {
  json series = json::array();
  for (const TaskOverTime& task : profile.tasks) {
    json rows = json::array(), values = json::array();
    for (const LabelCounts& bin : task.bins) {
      rows.push_back(bin.rows);
      values.push_back(
          bin.rows == 0 ? json(nullptr)
                        : json(static_cast<double>(bin.positives) / static_cast<double>(bin.rows)));
    }
    series.push_back({{"task", task.task}, {"rows", rows}, {"values", values}});
  }
  return {{"begin_ms", BeginsMs(profile.time)}, {"series", series}};
}

Status ReportReader::ReadShards() {
  if (!Has("shards", {"data"}, "nothing is known of the data")) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(Path("shards")));
  const std::string expected = report_["comparison"]["rows_hash"];
  if (shards->rows_hash() != expected) {
    return absl::InvalidArgumentError(absl::StrCat(shards->dir(), ": expected rows hash ", expected,
                                                   " as in comparison.json, got ",
                                                   shards->rows_hash()));
  }
  GRAB_ASSIGN_OR_RETURN(const DataProfile profile, ProfileData(*shards, item_fields_, progress_));
  json fields = json::array();
  for (const ColdField& field : profile.fields) {
    json rows = field.cold_rows ? json(*field.cold_rows) : json(nullptr);
    fields.push_back({{"field", field.field}, {"cold_rows", std::move(rows)}});
    if (field.cold_rows.has_value()) continue;
    Note({"cold"}, absl::StrCat(field.field, " has more than ", kColdValuesMax,
                                " values: its cold rows are not counted"));
  }
  report_["data"] = {{"users", profile.users},
                     {"events", profile.events},
                     {"targets", profile.targets},
                     {"users_by_events", UsersByEvents(profile.users_by_events)},
                     {"time", LabelRates(profile)},
                     {"test_rows", profile.targets[static_cast<size_t>(Split::kTest)]},
                     {"new_user_rows", profile.new_user_rows},
                     {"no_history_rows", profile.no_history_rows},
                     {"fields", fields}};
  return absl::OkStatus();
}

}  // namespace

StatusOr<json> ReadReport(const std::string& dir, Progress& progress) {
  return ReportReader(dir, progress).Read();
}

}  // namespace grab
