#include "cli/search.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "cli/json_file.h"
#include "cli/search_space.h"

namespace grab {
namespace {

using nlohmann::json;

// Of the metrics.json of a run only what it says about the validation targets.
Status ReadValidation(const std::string& path, SearchTrial& trial) {
  GRAB_ASSIGN_OR_RETURN(const json object, ReadJsonObject(path));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers valid, JsonMembers(path, "", object).Object("valid"));
  GRAB_ASSIGN_OR_RETURN(trial.valid_auc, valid.Metric("auc"));
  GRAB_ASSIGN_OR_RETURN(trial.valid_logloss, valid.Number("logloss"));
  return absl::OkStatus();
}

StatusOr<SearchTrial> RunTrial(const Job& job, const Variant& model, int64_t seed, int64_t number) {
  SearchTrial trial;
  trial.settings = TrialSettings(job.config(), model, number);
  Variant run = model;
  run.name = absl::StrCat(model.name, "-trial", number);
  run.settings.insert(run.settings.end(), trial.settings.begin(), trial.settings.end());
  // Evaluation that trains comes after the validation that counts here.
  if (run.kind.has_value()) {
    run.settings.push_back(absl::StrCat(ModelKindName(*run.kind), ".train.streaming.slice_s=0"));
  }
  const std::string dir = job.Path(absl::StrCat("search/", run.name));
  const Status status = job.TrainInto(dir, run, seed);
  if (status.ok()) {
    GRAB_RETURN_IF_ERROR(ReadValidation(JoinPath(dir, "metrics.json"), trial));
  } else {
    trial.error = std::string(status.message());
    std::fprintf(stderr, "grab: %s\n", trial.error.c_str());
  }
  return trial;
}

StatusOr<ModelSearch> SearchModel(const Job& job, const Variant& model, int64_t trials) {
  ModelSearch search;
  search.model = model.name;
  search.seed = job.Seeds(model)[0];
  std::optional<size_t> best;
  for (int64_t number = 0; number < trials; ++number) {
    GRAB_ASSIGN_OR_RETURN(SearchTrial trial, RunTrial(job, model, search.seed, number));
    search.trials.push_back(std::move(trial));
    const SearchTrial& last = search.trials.back();
    if (!last.error.empty()) continue;
    if (!best || last.valid_logloss < search.trials[*best].valid_logloss) {
      best = search.trials.size() - 1;
    }
  }
  if (!best.has_value()) {
    return absl::InternalError(absl::StrCat("search ", model.name, ": none of ", trials,
                                            " trials ended; repeat with --resume to try again"));
  }
  search.chosen = *best;
  return search;
}

json ToJson(const ModelSearch& search) {
  json trials = json::array();
  for (const SearchTrial& trial : search.trials) {
    json object = {{"settings", trial.settings}};
    if (trial.error.empty()) {
      object["valid_auc"] = OrNull(trial.valid_auc);
      object["valid_logloss"] = trial.valid_logloss;
    } else {
      object["error"] = trial.error;
    }
    trials.push_back(std::move(object));
  }
  return {{"model", search.model},
          {"seed", search.seed},
          {"trials", std::move(trials)},
          {"chosen", search.chosen}};
}

}  // namespace

StatusOr<std::vector<ModelSearch>> SearchSettings(const Job& job,
                                                  const std::vector<Variant>& models,
                                                  int64_t trials) {
  GRAB_RETURN_IF_ERROR(MakeDirectories(job.Path("search")));
  std::vector<ModelSearch> searches;
  json object = {{"trials_per_model", trials}, {"models", json::array()}};
  for (const Variant& model : models) {
    GRAB_ASSIGN_OR_RETURN(searches.emplace_back(), SearchModel(job, model, trials));
    object["models"].push_back(ToJson(searches.back()));
  }
  const std::string text = object.dump(2, ' ', false, json::error_handler_t::replace);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("search.json"), text + "\n"));
  return searches;
}

std::string SummaryOf(const ModelSearch& search) {
  const SearchTrial& chosen = search.trials[search.chosen];
  const SearchTrial& config = search.trials[0];
  const std::string settings = chosen.settings.empty() ? std::string("the config as it is")
                                                       : absl::StrJoin(chosen.settings, ", ");
  const std::string before = config.error.empty() ? absl::StrFormat("%.5f", config.valid_logloss)
                                                  : std::string("none, the run failed");
  return absl::StrFormat(
      "search: %s: trial %d of 0 to %d: %s; validation log-loss %.5f, of the config %s",
      search.model, search.chosen, search.trials.size() - 1, settings, chosen.valid_logloss,
      before);
}

}  // namespace grab
