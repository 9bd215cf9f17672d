// grab evidence: what finished comparisons say, as a list of figures.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/json_file.h"

namespace grab {
namespace {

using nlohmann::json;

struct Options {
  std::vector<std::string> comparisons;  // NAME=DIR
  std::string out = "evidence.json";
};

// One model of a comparison.
struct Compared {
  std::string name;
  double auc = 0.0;
  uint64_t seeds = 0;
  std::optional<double> auc_streaming;
  std::optional<double> minus_reference, p, users_95;
};

StatusOr<Compared> ReadModel(const JsonMembers& object) {
  Compared model;
  GRAB_ASSIGN_OR_RETURN(model.name, object.Text("model"));
  GRAB_ASSIGN_OR_RETURN(model.auc, object.Number("auc"));
  GRAB_ASSIGN_OR_RETURN(model.seeds, object.Size("seeds"));
  if (object.Has("auc_streaming")) {
    GRAB_ASSIGN_OR_RETURN(model.auc_streaming, object.Number("auc_streaming"));
  }
  if (!object.Has("auc_minus_reference")) return model;
  GRAB_ASSIGN_OR_RETURN(const JsonMembers difference, object.Object("auc_minus_reference"));
  GRAB_ASSIGN_OR_RETURN(model.minus_reference, difference.Number("mean"));
  if (difference.Has("p")) {
    GRAB_ASSIGN_OR_RETURN(model.p, difference.Number("p"));
  }
  if (difference.Has("users_95")) {
    GRAB_ASSIGN_OR_RETURN(model.users_95, difference.Number("users_95"));
  }
  return model;
}

// The figures of the comparison in `dir`, named `name`_...
Status AddFigures(const std::string& name, const std::string& dir, json& figures) {
  const std::string path = JoinPath(dir, "comparison.json");
  GRAB_ASSIGN_OR_RETURN(const json object, ReadJsonObject(path));
  const JsonMembers whole(path, "", object);
  GRAB_ASSIGN_OR_RETURN(const std::string reference, whole.Text("reference"));
  GRAB_ASSIGN_OR_RETURN(const std::vector<JsonMembers> objects, whole.Objects("models"));
  std::optional<Compared> subject, dlrm, best_other;
  for (const JsonMembers& member : objects) {
    GRAB_ASSIGN_OR_RETURN(const Compared model, ReadModel(member));
    if (model.name == reference) {
      subject = model;
      continue;
    }
    if (model.name == "dlrm") dlrm = model;
    if (!best_other.has_value() || model.auc > best_other->auc) best_other = model;
  }
  if (!subject.has_value() || !best_other.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected runs of '", reference,
                                                   "' and of another model; repeat grab compare"));
  }
  const auto add = [&](const std::string& what, const json& value, const char* unit) {
    figures.push_back({{"name", absl::StrCat(name, "_", what)}, {"value", value}, {"unit", unit}});
  };
  const auto add_if = [&](const std::string& what, const std::optional<double>& value,
                          const char* unit) {
    if (value.has_value()) add(what, *value, unit);
  };
  add("seeds", subject->seeds, "runs");
  add(reference + "_auc", subject->auc, "AUC");
  add_if(reference + "_streaming_auc", subject->auc_streaming, "AUC");
  if (dlrm.has_value() && dlrm->minus_reference.has_value()) {
    add(reference + "_minus_dlrm_auc", -*dlrm->minus_reference, "AUC");
  }
  add("best_other", best_other->name, "model");
  if (best_other->minus_reference.has_value()) {
    add(reference + "_minus_best_other_auc", -*best_other->minus_reference, "AUC");
  }
  add_if("p_value", best_other->p, "paired t-test with the best other model, two-sided");
  add_if(reference + "_minus_best_other_users_95", best_other->users_95,
         "AUC, half of the 95 % interval over samples of test users");
  return absl::OkStatus();
}

Status Evidence(const Options& options) {
  json figures = json::array();
  for (const std::string& comparison : options.comparisons) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(comparison, absl::MaxSplits('=', 1));
    if (parts.first.empty() || parts.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", comparison, "': expected NAME=DIR, DIR of a grab compare"));
    }
    GRAB_RETURN_IF_ERROR(AddFigures(parts.first, parts.second, figures));
  }
  GRAB_RETURN_IF_ERROR(WriteFileDurably(options.out, figures.dump(2) + "\n"));
  for (const json& figure : figures) {
    std::printf("%-44s %s %s\n", figure["name"].get<std::string>().c_str(),
                figure["value"].dump().c_str(), figure["unit"].get<std::string>().c_str());
  }
  std::printf("%s\n", options.out.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddEvidence(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("evidence", "The figures of finished comparisons, as JSON");
  sub->add_option("comparisons", options->comparisons,
                  "Folders of grab compare, and what their figures are called")
      ->required()
      ->type_name("NAME=DIR");
  sub->add_option("--out", options->out, "File to write")->capture_default_str()->type_name("FILE");
  sub->footer(
      "Per comparison: seeds, the reference's AUC, streaming AUC and lead over DLRM and over the "
      "best other model, which that is, the p of a paired t-test between them, and the spread of "
      "that lead over samples of test users.\n\n"
      "Example:\n"
      "  grab evidence kuairand=runs/zoo-kuairand simulator=runs/zoo --out evidence.json");
  sub->callback([&command, options] { command = [options] { return Evidence(*options); }; });
}

}  // namespace grab
