#include "eval/score_split.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"

namespace grab {
namespace {

template <class T>
void Extend(const std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

void AppendScores(const Batch& batch, const std::vector<float>& logits, ScoreTable& table) {
  const size_t rows = batch.event_id.size();
  GRAB_CHECK(logits.size() == rows * table.tasks.size());
  Extend(batch.event_id, table.event_id);
  Extend(batch.user_key, table.user_key);
  Extend(batch.page_id, table.page_id);
  Extend(batch.request_time_ms, table.request_time_ms);
  Extend(batch.history_len, table.history_len);
  Extend(batch.split, table.split);
  Extend(batch.labels, table.labels);
  Extend(batch.labels_known, table.labels_known);
  for (const float logit : logits) table.p.push_back(1.0f / (1.0f + std::exp(-logit)));
  for (size_t r = 0; r < rows; ++r) {
    for (const std::vector<uint64_t>& slice : batch.slices) table.slice_values.push_back(slice[r]);
  }
}

}  // namespace

ScoreTable MakeScoreTable(const ModelSpec& spec, const EvalConfig& config) {
  ScoreTable table;
  table.tasks = spec.tasks;
  table.slices = config.slices;
  return table;
}

Status ScoreStream(BatchStream& stream, const BatchForward& forward, Progress& progress,
                   ScoreTable& table) {
  Prefetcher batches(stream, 4);
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<Batch> batch, batches.Next());
    if (!batch.has_value()) return absl::OkStatus();
    GRAB_ASSIGN_OR_RETURN(const std::vector<float> logits, forward(*batch));
    AppendScores(*batch, logits, table);
    progress.Update(table.rows(), "");
  }
}

StatusOr<int64_t> FirstRequestMs(const ShardSet& shards, Split split) {
  int64_t first_ms = std::numeric_limits<int64_t>::max();
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(split)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (size_t i = 0; i < block.events.size(); ++i) {
      if (block.events.split[i] != split) continue;
      first_ms = std::min(first_ms, block.events.request_time_ms[i]);
    }
  }
  return first_ms;
}

StatusOr<ScoreTable> ScoreSplit(const ShardSet& shards, const ModelSpec& spec,
                                const EvalConfig& config, const ScoreOptions& options,
                                const BatchForward& forward, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder,
                        BatchBuilder::Create(spec.tokens, spec.Plan(), config.slices));
  if (options.frozen) {
    GRAB_ASSIGN_OR_RETURN(const int64_t first_ms, FirstRequestMs(shards, options.split));
    builder.set_history_until_ms(first_ms);
  }
  StreamOptions stream_options;
  stream_options.split = options.split;
  stream_options.batch_tokens = static_cast<uint64_t>(config.batch_tokens);
  LoadedBlocks blocks(shards);
  BatchStream stream(blocks, builder, stream_options);
  progress.Begin(absl::StrCat("score ", ModelKindName(spec.kind),
                              options.frozen ? ", histories frozen at the start" : ""),
                 "targets", CountTargets(shards, options.split));
  ScoreTable table = MakeScoreTable(spec, config);
  GRAB_RETURN_IF_ERROR(ScoreStream(stream, forward, progress, table));
  progress.End("");
  return table;
}

StatusOr<ScoreTable> ScoreSplitByUser(const ShardSet& shards, const ModelSpec& spec,
                                      const EvalConfig& config, const ScoreOptions& options,
                                      const UserForward& forward, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder,
                        BatchBuilder::Create(spec.tokens, spec.Plan(), config.slices));
  const Split split = options.split;
  if (options.frozen) {
    GRAB_ASSIGN_OR_RETURN(const int64_t first_ms, FirstRequestMs(shards, split));
    builder.set_history_until_ms(first_ms);
  }
  ScoreTable table = MakeScoreTable(spec, config);
  progress.Begin(absl::StrCat("score ", ModelKindName(spec.kind), " user by user"), "targets",
                 CountTargets(shards, split));
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(split)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (uint32_t user = 0; user < block.users(); ++user) {
      const TargetGroup group{user, block.user_offsets[user], block.user_offsets[user + 1], {}, 0};
      std::vector<uint32_t> targets;
      Batch batch = builder.Empty();
      for (uint32_t i = group.event_begin; i < group.event_end; ++i) {
        if (block.events.split[i] != split) continue;
        targets.push_back(i);
        builder.AppendTarget(block, group, i, batch);
      }
      if (targets.empty()) continue;
      std::vector<float> logits(targets.size() * table.tasks.size());
      GRAB_RETURN_IF_ERROR(forward(block, user, targets, logits.data()));
      AppendScores(batch, logits, table);
    }
    progress.Update(table.rows(), "");
  }
  progress.End("");
  return table;
}

}  // namespace grab
