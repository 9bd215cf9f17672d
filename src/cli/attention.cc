// grab attention: where a trained GRAB looks.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/threads.h"
#include "checkpoint/model_files.h"
#include "cli/commands.h"
#include "cli/schema_check.h"
#include "cli/text_table.h"
#include "eval/attention_mass.h"

namespace grab {
namespace {

struct Options {
  std::string model;
  std::string shards;
  std::string out;
  uint64_t targets = AttentionOptions().targets_max;
};

constexpr size_t kRowsShownMax = 10;

std::string DistanceText(const AttentionBucket& bucket) {
  const auto from = static_cast<int64_t>(bucket.from), to = static_cast<int64_t>(*bucket.to);
  return absl::StrCat(from, from == to ? "" : absl::StrCat(" to ", to));
}

std::string AgeText(const AttentionBucket& bucket) {
  const std::string from = HumanSeconds(bucket.from);
  return bucket.to ? absl::StrCat(from, " to ", HumanSeconds(*bucket.to)) : "above " + from;
}

std::string ActionText(const AttentionBucket& bucket) { return bucket.action; }

// A table of some buckets, after the candidate's own key.
std::string KindTable(const std::string& kind, const AttentionBucket& self,
                      const std::vector<AttentionBucket>& buckets,
                      std::string (*text)(const AttentionBucket&)) {
  std::vector<std::vector<std::string>> rows = {{kind, "keys", "uniform %"}};
  for (size_t layer = 1; layer <= self.mass.size(); ++layer) {
    rows[0].push_back(absl::StrCat("layer ", layer, " %"));
    rows[0].push_back("lift");
  }
  const auto add = [&](std::string name, const AttentionBucket& bucket) {
    std::vector<std::string>& row = rows.emplace_back();
    row = {std::move(name), absl::StrFormat("%.2f", bucket.keys),
           absl::StrFormat("%.2f", 100.0 * bucket.uniform)};
    for (const double mass : bucket.mass) {
      row.push_back(absl::StrFormat("%.2f", 100.0 * mass));
      row.push_back(absl::StrFormat("%.2f", mass / bucket.uniform));
    }
  };
  add("itself", self);
  for (const AttentionBucket& bucket : buckets) add(text(bucket), bucket);
  return absl::StrCat("\n", TextTable(rows));
}

std::string ToText(const AttentionMass& mass) {
  std::string out =
      absl::StrCat(mass.sampled, " of ", mass.targets,
                   " test candidates. Of those that see events in a channel: events seen, and the "
                   "share of attention they get, uniformly and by the model; lift is the second "
                   "over the first.\n");
  for (const ChannelAttention& channel : mass.channels) {
    absl::StrAppend(&out, "\nchannel ", channel.name, ": ", channel.queries, " candidates\n");
    if (channel.queries == 0) continue;
    const auto table = [&](const char* kind, const std::vector<AttentionBucket>& buckets,
                           std::string (*text)(const AttentionBucket&)) {
      absl::StrAppend(&out, KindTable(kind, channel.self, buckets, text));
    };
    table("events back", MergeBuckets(channel.position, kRowsShownMax), &DistanceText);
    table("age", MergeBuckets(channel.time, kRowsShownMax), &AgeText);
    table("action", SeenBuckets(channel.action), &ActionText);
  }
  return out;
}

Status MeasureModel(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(options.model));
  for (const std::string& reason : loaded.skipped) {
    std::fprintf(stderr, "grab: passed over a damaged model: %s\n", reason.c_str());
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards));
  GRAB_RETURN_IF_ERROR(CheckSchema(*shards, loaded.model.spec, loaded.dir));
  AttentionOptions measured;
  measured.targets_max = options.targets;
  measured.threads = DefaultThreads();
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  GRAB_ASSIGN_OR_RETURN(const AttentionMass mass,
                        MeasureAttention(loaded.model, *shards, measured, *progress));
  nlohmann::json object = ToJson(mass);
  object["model"] = loaded.dir;
  GRAB_RETURN_IF_ERROR(WriteFileDurably(
      options.out, object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  std::printf("%s\n%s\n", ToText(mass).c_str(), options.out.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddAttention(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "attention", "Where a trained GRAB looks: attention by distance, age and action");
  sub->add_option("--model", options->model,
                  "Exported model, or a folder of them (the newest); best/ of a run")
      ->required()
      ->type_name("DIR");
  sub->add_option("--shards", options->shards, "Folder written by grab prepare")
      ->required()
      ->type_name("DIR");
  sub->add_option("--out", options->out, "JSON file to write (docs/report.md)")
      ->required()
      ->type_name("FILE");
  sub->add_option("--targets", options->targets,
                  "Test candidates to measure; of more a sample is drawn, always the same")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  sub->footer(
      "Per channel and layer, mean over candidates and heads: how much attention the events get\n"
      "in each bucket of the relative bias, and how much they would get if all keys got the same.\n"
      "grab compare does it for its first GRAB, and grab report draws it.\n\n"
      "Examples:\n"
      "  grab attention --model runs/zoo/grab-seed1/best --shards runs/zoo/shards --out a.json");
  sub->callback([&command, options] { command = [options] { return MeasureModel(*options); }; });
}

}  // namespace grab
