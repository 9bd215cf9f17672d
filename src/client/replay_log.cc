#include "client/replay_log.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/clock.h"
#include "eval/score_split.h"
#include "wire/wire_writer.h"

namespace grab {
namespace {

// An event that becomes known, or a target at its request; at one time requests come first, so that
// they see what was known before.
struct Step {
  int64_t time_ms = 0;
  bool is_event = false;
  uint32_t block = 0;
  uint32_t user = 0;  // of the block
  uint32_t row = 0;
};

using Probabilities = absl::flat_hash_map<uint64_t, std::vector<float>>;  // by event id

std::vector<Step> StepsOf(const std::vector<UserBlock>& blocks, Split split, size_t part,
                          size_t parts, int64_t last_ms) {
  std::vector<Step> steps;
  size_t number = 0;
  for (uint32_t b = 0; b < blocks.size(); ++b) {
    const EventColumns& events = blocks[b].events;
    for (uint32_t user = 0; user < blocks[b].users(); ++user) {
      if (number++ % parts != part) continue;
      for (uint32_t row = blocks[b].user_offsets[user]; row < blocks[b].user_offsets[user + 1];
           ++row) {
        if (events.split[row] == split) {
          steps.push_back({events.request_time_ms[row], false, b, user, row});
        }
        if (events.known_time_ms[row] <= last_ms) {
          steps.push_back({events.known_time_ms[row], true, b, user, row});
        }
      }
    }
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::tie(a.time_ms, a.is_event) < std::tie(b.time_ms, b.is_event);
  });
  return steps;
}

// One connection's part of the log.
class PartReplay {
 public:
  PartReplay(Connection& connection, const std::vector<UserBlock>& blocks, const Schema& schema,
             const ReplayOptions& options, std::atomic<uint64_t>& done)
      : connection_(connection),
        stub_(connection.NewStub()),
        blocks_(blocks),
        schema_(schema),
        options_(options),
        done_(done) {}

  Status Run(const std::vector<Step>& steps) {
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].is_event) {
        GRAB_RETURN_IF_ERROR(AddEvent(steps[i]));
      } else {
        AddTarget(steps[i]);
        const bool more = i + 1 < steps.size() && !steps[i + 1].is_event &&
                          steps[i + 1].time_ms == steps[i].time_ms &&
                          steps[i + 1].block == steps[i].block &&
                          steps[i + 1].user == steps[i].user;
        if (!more) GRAB_RETURN_IF_ERROR(Rank(steps[i]));
      }
      ++done_;
    }
    return Observe();
  }

  const ReplayCounts& counts() const { return counts_; }
  Probabilities& probabilities() { return probabilities_; }

 private:
  Status AddEvent(const Step& step) {
    const UserBlock& block = blocks_[step.block];
    v1::Event& event = *events_.add_events();
    WriteEvent(schema_, block.events, step.row, block.user_id[step.user], event);
    pending_.insert(block.user_id[step.user]);
    if (events_.events_size() < options_.observe_events_max) return absl::OkStatus();
    return Observe();
  }

  void AddTarget(const Step& step) {
    const UserBlock& block = blocks_[step.block];
    WriteFields(schema_, block.events.fields, step.row,
                *request_.add_candidates()->mutable_fields());
    targets_.push_back(block.events.event_id[step.row]);
  }

  Status Observe() {
    if (events_.events_size() == 0) return absl::OkStatus();
    v1::ObserveResponse response;
    GRAB_RETURN_IF_ERROR(Call(&v1::Grab::Stub::Observe, events_, response));
    counts_.observed += static_cast<uint64_t>(events_.events_size());
    for (const int outcome : response.outcomes()) {
      ++(outcome == v1::STORED      ? counts_.stored
         : outcome == v1::DUPLICATE ? counts_.duplicates
                                    : counts_.too_old);
    }
    events_.Clear();
    pending_.clear();
    return absl::OkStatus();
  }

  Status Rank(const Step& step) {
    const std::string& user_id = blocks_[step.block].user_id[step.user];
    if (pending_.contains(user_id)) GRAB_RETURN_IF_ERROR(Observe());
    request_.set_user_id(user_id);
    request_.set_time_ms(step.time_ms);
    v1::RankResponse response;
    GRAB_RETURN_IF_ERROR(Call(&v1::Grab::Stub::Rank, request_, response));
    if (response.scores_size() != request_.candidates_size()) {
      return absl::InternalError(absl::StrCat("user '", user_id, "': expected ",
                                              request_.candidates_size(), " scores, got ",
                                              response.scores_size()));
    }
    for (size_t c = 0; c < targets_.size(); ++c) {
      const auto& p = response.scores(static_cast<int>(c)).probability();
      probabilities_[targets_[c]].assign(p.begin(), p.end());
    }
    ++counts_.rank_requests;
    counts_.ranked += targets_.size();
    if (response.degraded()) ++counts_.degraded;
    request_.Clear();
    targets_.clear();
    return absl::OkStatus();
  }

  template <class Request, class Response>
  Status Call(grpc::Status (v1::Grab::Stub::*method)(grpc::ClientContext*, const Request&,
                                                     Response*),
              const Request& request, Response& response) {
    for (int attempt = 0;; ++attempt) {
      grpc::ClientContext context;
      connection_.Prepare(options_.timeout_s, context);
      const Status status = FromGrpc(((*stub_).*method)(&context, request, &response));
      if (!absl::IsResourceExhausted(status) || attempt == options_.retries) return status;
      ++counts_.retried;
      std::this_thread::sleep_for(std::chrono::milliseconds(20 << std::min(attempt, 6)));
    }
  }

  Connection& connection_;
  std::unique_ptr<v1::Grab::Stub> stub_;
  const std::vector<UserBlock>& blocks_;
  const Schema& schema_;
  const ReplayOptions& options_;
  std::atomic<uint64_t>& done_;
  v1::ObserveRequest events_;
  absl::flat_hash_set<std::string> pending_;  // users of events_
  v1::RankRequest request_;
  std::vector<uint64_t> targets_;  // of request_
  Probabilities probabilities_;
  ReplayCounts counts_;
};

void Add(const ReplayCounts& from, ReplayCounts& to) {
  to.observed += from.observed;
  to.stored += from.stored;
  to.duplicates += from.duplicates;
  to.too_old += from.too_old;
  to.ranked += from.ranked;
  to.rank_requests += from.rank_requests;
  to.degraded += from.degraded;
  to.retried += from.retried;
}

// The table of the split with what the server said.
StatusOr<ScoreTable> TableOf(const ShardSet& shards, const ModelSpec& spec,
                             const EvalConfig& config, Split split,
                             const Probabilities& probabilities) {
  const size_t tasks = spec.tasks.size();
  GRAB_ASSIGN_OR_RETURN(
      ScoreTable table,
      ScoreSplitByUser(
          shards, spec, config, {split, false},
          [&](const UserBlock&, uint32_t, const std::vector<uint32_t>& targets, float* logits) {
            std::fill_n(logits, targets.size() * tasks, 0.0f);
            return absl::OkStatus();
          },
          NoProgress()));
  for (size_t row = 0; row < table.rows(); ++row) {
    const auto found = probabilities.find(table.event_id[row]);
    if (found == probabilities.end() || found->second.size() != tasks) {
      return absl::InternalError(
          absl::StrCat("event ", table.event_id[row], ": it was not ranked"));
    }
    std::copy(found->second.begin(), found->second.end(),
              table.p.begin() + static_cast<ptrdiff_t>(row * tasks));
  }
  return table;
}

StatusOr<std::vector<UserBlock>> ReadBlocks(const ShardSet& shards) {
  std::vector<UserBlock> blocks;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    GRAB_ASSIGN_OR_RETURN(UserBlock block, shards.Read(ref));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

int64_t LastRequestMs(const std::vector<UserBlock>& blocks, Split split) {
  int64_t last_ms = std::numeric_limits<int64_t>::min();
  for (const UserBlock& block : blocks) {
    for (size_t row = 0; row < block.events.size(); ++row) {
      if (block.events.split[row] == split) {
        last_ms = std::max(last_ms, block.events.request_time_ms[row]);
      }
    }
  }
  return last_ms;
}

}  // namespace

StatusOr<ReplayResult> ReplayLog(Connection& connection, const ShardSet& shards,
                                 const ModelSpec& spec, const EvalConfig& config,
                                 const ReplayOptions& options, Progress& progress) {
  const Stopwatch watch;
  GRAB_ASSIGN_OR_RETURN(const std::vector<UserBlock> blocks, ReadBlocks(shards));
  const int64_t last_ms = LastRequestMs(blocks, options.split);
  const auto parts = static_cast<size_t>(options.connections);
  std::vector<std::vector<Step>> steps;
  uint64_t total = 0;
  for (size_t part = 0; part < parts; ++part) {
    steps.push_back(StepsOf(blocks, options.split, part, parts, last_ms));
    total += steps.back().size();
  }
  std::atomic<uint64_t> done{0};
  std::vector<PartReplay> replays;
  replays.reserve(parts);
  for (size_t part = 0; part < parts; ++part) {
    replays.emplace_back(connection, blocks, shards.schema(), options, done);
  }
  std::vector<Status> statuses(parts);
  std::atomic<size_t> running{parts};
  std::vector<std::thread> threads;
  for (size_t part = 0; part < parts; ++part) {
    threads.emplace_back([&, part] {
      statuses[part] = replays[part].Run(steps[part]);
      --running;
    });
  }
  progress.Begin("replay", "events and targets", total);
  while (running > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    progress.Update(done, "");
  }
  progress.End("");
  for (std::thread& thread : threads) thread.join();
  ReplayResult result;
  Probabilities probabilities;
  for (size_t part = 0; part < parts; ++part) {
    GRAB_RETURN_IF_ERROR(statuses[part]);
    Add(replays[part].counts(), result.counts);
    probabilities.merge(replays[part].probabilities());
  }
  result.counts.seconds = watch.Seconds();
  GRAB_ASSIGN_OR_RETURN(result.scores, TableOf(shards, spec, config, options.split, probabilities));
  return result;
}

}  // namespace grab
