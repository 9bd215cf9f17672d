#include "train/scoring.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "train/sparse.h"

namespace grab {
namespace {

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

}  // namespace

StatusOr<ScoreTable> ScoreSplit(const ShardSet& shards, const ModelSpec& spec, const Net& net,
                                const std::vector<EmbeddingTable>& tables, const EvalConfig& config,
                                Split split, bool frozen, Progress& progress) {
  torch::NoGradGuard no_grad;
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder,
                        BatchBuilder::Create(spec.tokens, spec.Plan(), config.slices));
  if (frozen) {
    GRAB_ASSIGN_OR_RETURN(const int64_t first_ms, FirstRequestMs(shards, split));
    builder.set_history_until_ms(first_ms);
  }
  StreamOptions options;
  options.split = split;
  options.batch_tokens = static_cast<uint64_t>(config.batch_tokens);
  BatchStream stream(shards, builder, options);
  Prefetcher batches(stream, 4);
  Lookup lookup(spec.tokens);
  ScoreTable scores = MakeScoreTable(spec.tasks, config.slices);
  progress.Begin(
      absl::StrCat("score ", ModelKindName(spec.kind), frozen ? " (frozen history)" : ""),
      "targets", CountTargets(shards, split));
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<Batch> batch, batches.Next());
    if (!batch.has_value()) break;
    const BatchLookup found = lookup.Find(*batch, tables);
    const torch::Tensor logits = net.Forward(*batch, found, GatherRows(tables, found, false));
    const torch::Tensor p = torch::sigmoid(logits).contiguous();
    AppendScores(*batch, {p.data_ptr<float>(), static_cast<size_t>(p.numel())}, scores);
    progress.Update(scores.rows(), "");
  }
  progress.End("");
  return scores;
}

}  // namespace grab
