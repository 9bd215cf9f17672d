#include "cli/leak_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/json_file.h"
#include "data/shard.h"
#include "eval/field_check.h"
#include "eval/history_check.h"
#include "eval/significance.h"

namespace grab {
namespace {

// A feature of a log that honest data should not reach; one written down afterwards does.
constexpr double kFieldAucMax = 0.99;
constexpr uint64_t kFieldTargetsMax = 200'000;
constexpr uint64_t kHistoryTargetsMax = 100'000;  // per split and model
// Of an AUC by chance: 1 in 16,000 honest runs is outside.
constexpr double kChanceSdMax = 4.0;

// Stored fields that enter full tokens, by themselves or in a cross.
std::vector<int> CandidateFields(const TokenSpec& spec) {
  std::set<int> fields;
  for (const TokenSlot& slot : spec.slots) {
    if (slot.full) fields.insert(slot.fields.begin(), slot.fields.end());
  }
  return {fields.begin(), fields.end()};
}

StatusOr<Check> CheckFields(const ShardSet& shards, const TokenSpec& spec) {
  const std::vector<int> fields = CandidateFields(spec);
  GRAB_ASSIGN_OR_RETURN(const std::vector<std::optional<double>> aucs,
                        SingleFieldAucs(shards, fields, 0, kFieldTargetsMax));
  Check check{"single fields", true, 0.0, kFieldAucMax, "no field has enough training targets"};
  for (size_t f = 0; f < fields.size(); ++f) {
    if (!aucs[f].has_value() || *aucs[f] <= check.value) continue;
    check.value = *aucs[f];
    check.what = absl::StrCat("AUC of '", spec.schema.fields[static_cast<size_t>(fields[f])].name,
                              "' alone on training targets, the highest of ", fields.size(),
                              " fields of candidates");
  }
  check.ok = check.value <= check.bound;
  return check;
}

// As it is trained and as it is scored.
std::vector<StreamOptions> StreamsOf(const Config& config, ModelKind kind) {
  const TrainConfig& train = RunConfigOf(config, kind).train;
  StreamOptions training;
  training.batch_tokens = static_cast<uint64_t>(train.batch_tokens);
  training.window_size = static_cast<uint32_t>(train.window_size);
  training.window_train = static_cast<uint32_t>(train.window_train);
  StreamOptions valid;
  valid.split = Split::kValid;
  valid.batch_tokens = static_cast<uint64_t>(config.eval.batch_tokens);
  StreamOptions test = valid;
  test.split = Split::kTest;
  return {training, valid, test};
}

StatusOr<Check> CheckHistoryOf(const ShardSet& shards, const Config& config,
                               const ModelSpec& spec) {
  GRAB_ASSIGN_OR_RETURN(const BatchBuilder builder, BatchBuilder::Create(spec.tokens, spec.Plan()));
  HistoryCheck sum;
  for (const StreamOptions& options : StreamsOf(config, spec.kind)) {
    GRAB_ASSIGN_OR_RETURN(const HistoryCheck part,
                          CheckHistory(shards, builder, options, kHistoryTargetsMax));
    sum.targets += part.targets;
    sum.rows += part.rows;
    sum.bad_targets += part.bad_targets;
    if (sum.example.empty()) sum.example = part.example;
  }
  return Check{absl::StrCat("history, ", ModelKindName(spec.kind)), sum.bad_targets == 0,
               static_cast<double>(sum.bad_targets), 0.0,
               absl::StrCat("targets that see what was not known before their request, of ",
                            sum.targets, " with ", sum.rows, " rows of history",
                            sum.example.empty() ? "" : "; ", sum.example)};
}

// That no field of candidates tells the label by itself, and, for each kind of model among
// `variants` that has history, that targets see what was known before their request only.
StatusOr<std::vector<Check>> CheckShards(const Job& job, const std::vector<Variant>& variants) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(job.Path("shards")));
  const auto spec_of = [&](ModelKind kind) {
    return ModelSpec::FromConfig(job.config(), kind, shards->schema());
  };
  std::vector<Check> checks;
  GRAB_ASSIGN_OR_RETURN(const ModelSpec plain, spec_of(ModelKind::kDlrm));
  GRAB_ASSIGN_OR_RETURN(checks.emplace_back(), CheckFields(*shards, plain.tokens));
  std::set<ModelKind> kinds;
  for (const Variant& variant : variants) {
    if (!variant.kind.has_value() || !kinds.insert(*variant.kind).second) continue;
    GRAB_ASSIGN_OR_RETURN(const ModelSpec spec, spec_of(*variant.kind));
    if (spec.channels.empty()) continue;
    GRAB_ASSIGN_OR_RETURN(checks.emplace_back(), CheckHistoryOf(*shards, job.config(), spec));
  }
  return checks;
}

// Trains `variant`, with its first seed, on the job of permuted feedback: what it then finds in the
// test, beyond chance, was shown to it. A run that fails is a failed check.
StatusOr<Check> CheckPermuted(const Job& permuted, const Variant& variant) {
  Check check{absl::StrCat("permuted labels, ", variant.name), false, 0.0, 0.0, ""};
  const int64_t seed = permuted.Seeds(variant)[0];
  if (const Status status = permuted.Train(variant, seed); !status.ok()) {
    check.what = std::string(status.message());
    return check;
  }
  const std::string path = JoinPath(permuted.RunDir(variant.name, seed), "metrics.json");
  GRAB_ASSIGN_OR_RETURN(const nlohmann::json object, ReadJsonObject(path));
  GRAB_ASSIGN_OR_RETURN(const JsonMembers test, JsonMembers(path, "", object).Object("test"));
  GRAB_ASSIGN_OR_RETURN(const std::optional<double> auc, test.Metric("auc"));
  GRAB_ASSIGN_OR_RETURN(const uint64_t positives, test.Count("positives"));
  GRAB_ASSIGN_OR_RETURN(const uint64_t rows, test.Count("rows"));
  if (!auc.has_value()) {
    check.what = absl::StrCat("the ", rows, " test rows are of one class");
    return check;
  }
  check.value = std::abs(*auc - 0.5);
  check.bound = kChanceSdMax * ChanceAucSd(positives, rows - positives);
  check.ok = check.value <= check.bound;
  check.what =
      absl::StrFormat("|AUC - .5| of %d test rows with feedback permuted, AUC %.5f", rows, *auc);
  return check;
}

}  // namespace

StatusOr<std::vector<Check>> CheckForLeaks(const Job& job, const std::vector<Variant>& variants,
                                           const std::string& reference, bool permute) {
  std::printf("== check %s\n", job.Path("shards").c_str());
  std::fflush(stdout);
  GRAB_ASSIGN_OR_RETURN(std::vector<Check> checks, CheckShards(job, variants));
  if (!permute) return checks;
  GRAB_ASSIGN_OR_RETURN(const Job permuted, job.Permuted());
  GRAB_RETURN_IF_ERROR(permuted.MakeShards());
  for (const Variant& variant : variants) {
    if (variant.name != reference && variant.kind.has_value()) continue;
    GRAB_ASSIGN_OR_RETURN(checks.emplace_back(), CheckPermuted(permuted, variant));
  }
  return checks;
}

}  // namespace grab
