// grab ablate: GRAB beside GRAB without one of its parts.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "cli/commands.h"
#include "cli/compare_variants.h"

namespace grab {
namespace {

// Of each field that only full tokens have.
std::vector<std::string> FullFieldSettings(const std::vector<FieldConfig>& fields,
                                           const std::string& setting) {
  std::vector<std::string> settings;
  for (const FieldConfig& field : fields) {
    if (!field.InFullToken() || field.InPartialToken()) continue;
    settings.push_back(absl::StrCat("field.", field.name, ".", setting));
  }
  return settings;
}

// GRAB as the config has it, then without what it has.
std::vector<Variant> Ablations(const Config& config) {
  const ModelRunConfig& grab = RunConfigOf(config, ModelKind::kGrab);
  std::vector<Variant> variants = {VariantOf(ModelKind::kGrab)};
  const auto add = [&](const std::string& name, std::vector<std::string> settings) {
    variants.push_back({name, ModelKind::kGrab, std::move(settings)});
  };
  // Both kinds of token hold the same fields: those of history, or those of candidates too.
  if (std::vector<std::string> only = FullFieldSettings(config.fields, "full=no"); !only.empty()) {
    add("partial_only", std::move(only));
    add("full_only", FullFieldSettings(config.fields, "partial=yes"));
  }
  // One bucket of the two is the query itself, so that all history shares the other.
  add("no_position_bias", {"grab.model.position_buckets=2"});
  add("no_time_bias", {"grab.model.time_buckets=2"});
  add("no_position_time_bias", {"grab.model.position_buckets=2", "grab.model.time_buckets=2"});
  if (!config.actions.empty()) add("no_action_bias", {"grab.model.action_bias=false"});
  const std::vector<ChannelConfig>& channels = grab.model.channels;
  if (channels.size() > 1) {
    if (grab.model.target_mix) add("no_target_mix", {"grab.model.target_mix=false"});
    add("one_channel", {absl::StrCat("grab.model.channel=[{name=\"", channels[0].name,
                                     "\", window_len=", channels[0].window_len, "}]")});
  }
  std::vector<std::string> windows;
  for (size_t c = 0; c < channels.size(); ++c) {
    windows.push_back(absl::StrCat("grab.model.channel.", c, ".window_len=",
                                   std::max<int64_t>(1, channels[c].window_len / 4)));
  }
  if (!windows.empty()) add("quarter_window", std::move(windows));
  if (grab.model.layers > 1) add("one_layer", {"grab.model.layers=1"});
  if (grab.train.id_dropout > 0.0) add("no_id_dropout", {"grab.train.id_dropout=0.0"});
  const bool stages = grab.train.mode != "end_to_end";
  add(stages ? "end_to_end" : "sts",
      {absl::StrCat("grab.train.mode=", stages ? "end_to_end" : "sts")});
  return variants;
}

Status Ablate(const JobOptions& options) {
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options));
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  GRAB_ASSIGN_OR_RETURN(
      const Comparison comparison,
      CompareVariants(job, Ablations(job.config()), ModelKindName(ModelKind::kGrab)));
  return WriteComparison(job, comparison);
}

}  // namespace

void AddAblate(CLI::App& app, Command& command) {
  const auto options = std::make_shared<JobOptions>();
  CLI::App* sub = app.add_subcommand("ablate", "Train GRAB without one of its parts at a time");
  options->Add(*sub);
  sub->footer(
      "Without the fields that candidates have beside those of history, or with them in history "
      "too; without position, time or action bias; with one channel, without target mix (where "
      "there are more channels); with a quarter of each window; one layer; no id dropout; trained "
      "in the other mode. Each is held against the whole, seed by seed; the table is printed and "
      "in "
      "DIR/comparison.json and comparison.md.\n\n"
      "Example:\n"
      "  grab ablate --config configs/simulator.toml --out runs/ablation --seeds 1,2,3");
  sub->callback([&command, options] { command = [options] { return Ablate(*options); }; });
}

}  // namespace grab
