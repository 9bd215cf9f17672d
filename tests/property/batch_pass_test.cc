// Passes over a log, from its text to batches: over passes that tile time every (event, task) is
// trained exactly once, in the pass in which its label becomes final, and no batch holds anything
// known at or after its pass's end. What must come out is enumerated from the random rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "batch/stream.h"
#include "data/prepare.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

constexpr int kTasks = 3;
constexpr int64_t kEndMs = 100000;  // of the requests

struct Row {
  uint64_t id = 0;
  uint64_t user = 0;
  int64_t request_ms = 0;
  int64_t known_ms = 0;
  std::optional<bool> labels[kTasks];
};

// Users of 1 to 60 rows, some requested together, some known much later than requested.
std::vector<Row> RandomRows(Rng& rng) {
  std::vector<Row> rows;
  for (uint64_t user = 0; user < 12; ++user) {
    for (uint64_t i = 1 + rng.Below(60); i > 0; --i) {
      Row row;
      row.id = rows.size() + 1;
      row.user = user;
      const bool together = rng.Bernoulli(0.2) && !rows.empty();
      row.request_ms = together ? rows.back().request_ms : static_cast<int64_t>(rng.Below(kEndMs));
      const uint64_t wait_ms = rng.Bernoulli(0.1) ? 40000 : rng.Bernoulli(0.5) ? 500 : 1;
      row.known_ms = row.request_ms + static_cast<int64_t>(rng.Below(wait_ms));
      for (auto& label : row.labels) {
        if (rng.Bernoulli(0.8)) label = rng.Bernoulli(0.4);
      }
      rows.push_back(row);
    }
  }
  return rows;
}

void WriteRows(std::vector<Row> rows, Rng& rng, const std::string& path) {
  Shuffle(rows, rng);
  std::ofstream out(path);
  out << "id,u,t,k,l0,l1,l2\n";
  for (const Row& row : rows) {
    out << row.id << ',' << row.user << ',' << row.request_ms << ',' << row.known_ms;
    for (const auto& label : row.labels) {
      out << ',';
      if (label.has_value()) out << *label;
    }
    out << '\n';
  }
}

Config LogConfig(const std::string& dir, const int64_t (&delay_s)[kTasks]) {
  Config config;
  config.data_dir = dir;
  config.sources.resize(1);
  config.sources[0].name = "log";
  config.sources[0].files = {"log.csv"};
  config.sources[0].columns = {"id BIGINT",  "u BIGINT",   "t BIGINT",  "k BIGINT",
                               "l0 BOOLEAN", "l1 BOOLEAN", "l2 BOOLEAN"};
  config.sources[0].time_ms = "k";
  config.events.resize(1);
  config.events[0].name = "log";
  config.events[0].from = "log";
  config.events[0].user = "u";
  config.events[0].request_time_ms = "t";
  config.events[0].known_time_ms = "k";
  config.events[0].event_id = "id";
  config.events[0].order = "id";
  config.fields.resize(1);
  config.fields[0].name = "item";
  config.fields[0].expr = "id % 7";
  config.tasks.resize(kTasks);
  for (int t = 0; t < kTasks; ++t) {
    config.tasks[t].name = config.tasks[t].label = absl::StrCat("l", t);
    config.tasks[t].delay_s = delay_s[t];
  }
  config.prepare.shards = 2;
  config.prepare.block_events_max = 100;
  config.prepare.threads = 1;
  return config;
}

using Answers = std::map<std::pair<uint64_t, int>, bool>;  // (event, task) to label

// What the pass must train, straight from the rule.
Answers ExpectedOf(const std::vector<Row>& rows, const int64_t (&delay_s)[kTasks],
                   const TimeRange& pass) {
  Answers expected;
  for (const Row& row : rows) {
    for (int t = 0; t < kTasks; ++t) {
      const int64_t final_ms = std::max(row.known_ms, row.request_ms + 1000 * delay_s[t]);
      if (!row.labels[t].has_value() || final_ms < pass.from_ms || final_ms >= pass.to_ms) continue;
      expected[{HashId(static_cast<int64_t>(row.id)), t}] = *row.labels[t];
    }
  }
  return expected;
}

// What the batches of one stream train, checking what each may hold.
Answers Trained(BatchStream& stream, const TimeRange& pass) {
  Answers trained;
  while (true) {
    const auto batch = stream.Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok() || !batch->has_value()) return trained;
    for (const ChannelBatch& channel : (*batch)->channels) {
      for (const int64_t known_ms : channel.key_time_ms) EXPECT_LT(known_ms, pass.to_ms);
      for (size_t row = 0; row < channel.full_end.size(); ++row) {
        for (int32_t key = channel.full_begin[row]; key < channel.full_end[row]; ++key) {
          EXPECT_LT(channel.key_time_ms[static_cast<size_t>(key)], (*batch)->request_time_ms[row]);
        }
      }
    }
    for (size_t row = 0; row < (*batch)->event_id.size(); ++row) {
      EXPECT_NE((*batch)->labels_known[row], 0u) << "a row that trains nothing";
      for (int t = 0; t < kTasks; ++t) {
        if (((*batch)->labels_known[row] >> t & 1) == 0) continue;
        const bool label = ((*batch)->labels[row] >> t & 1) != 0;
        EXPECT_TRUE(trained.insert({{(*batch)->event_id[row], t}, label}).second) << "twice";
      }
    }
  }
}

// Delays from none to half the log; windows from one event to more than any user has, so that a
// delayed target may lie many windows before the newest event; the packed stream and the one of
// single impressions; passes of 1 ms to a third of the log, and on until the last label is final.
TEST(BatchPass, EveryLabelIsTrainedOnceWhenItIsFinal) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const TempDir dir;
    const std::vector<Row> rows = RandomRows(rng);
    WriteRows(rows, rng, dir.File("log.csv"));
    const int64_t delay_s[kTasks] = {0, static_cast<int64_t>(rng.Below(10)),
                                     static_cast<int64_t>(rng.Below(50))};
    const Config config = LogConfig(dir.path(), delay_s);
    const int64_t context_ms = rng.Bernoulli(0.5) ? 0 : static_cast<int64_t>(rng.Below(30000));
    StreamOptions options;
    options.impressions = seed % 4 == 0;
    options.shuffle = seed % 2 == 0;
    options.batch_tokens = 1 + rng.Below(60);
    options.window_size = static_cast<uint32_t>(1 + rng.Below(seed % 3 == 0 ? 80 : 8));
    options.window_train = static_cast<uint32_t>(1 + rng.Below(options.window_size));
    Answers all;
    size_t passes = 0;
    for (TimeRange pass; pass.from_ms < kEndMs + 51000; pass.from_ms = pass.to_ms, ++passes) {
      pass.to_ms = pass.from_ms + 1 + static_cast<int64_t>(rng.Below(kEndMs / 3));
      const std::string out = dir.File(absl::StrCat("pass", passes));
      const auto report = PrepareRange(config, pass, context_ms, out, NoProgress());
      ASSERT_TRUE(report.ok()) << report.status();
      const auto set = ShardSet::Open(out);
      ASSERT_TRUE(set.ok()) << set.status();
      const auto spec = TokenSpec::FromConfig(config, (*set)->schema(), 4);
      ASSERT_TRUE(spec.ok()) << spec.status();
      PackPlan plan;
      if (!options.impressions) plan.channels = {{0, 5, 0}};
      const auto builder = BatchBuilder::Create(*spec, plan);
      ASSERT_TRUE(builder.ok()) << builder.status();
      LoadedBlocks blocks(**set);
      BatchStream stream(blocks, *builder, options);
      const Answers trained = Trained(stream, pass);
      ASSERT_TRUE(trained == ExpectedOf(rows, delay_s, pass))
          << "pass " << passes << ", [" << pass.from_ms << ", " << pass.to_ms
          << "): " << trained.size() << " labels";
      for (const auto& [key, label] : trained) ASSERT_TRUE(all.insert({key, label}).second);
    }
    EXPECT_TRUE(all == ExpectedOf(rows, delay_s, {0, 2 * kEndMs})) << all.size() << " labels";
    EXPECT_GT(passes, 3u);
  }
}

}  // namespace
}  // namespace grab
