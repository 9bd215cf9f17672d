// The configs of configs/ on the data sets they were written for, against the figures that those
// state about themselves. GRAB_DATA names the folder with the data sets; without it these tests are
// skipped, except for the text layout, whose sample is generated.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "config/config.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

constexpr int64_t kHourMs = 3600000;
constexpr int64_t kDayMs = 24 * kHourMs;

class Configs : public testing::Test {
 protected:
  // Prepares configs/NAME.toml from `data_dir`.
  void PrepareConfig(const std::string& name, const std::string& data_dir) {
    auto config = LoadConfig(JoinPath(GRAB_CONFIGS, name + ".toml"), {});
    ASSERT_TRUE(config.ok()) << config.status();
    config->data_dir = data_dir;
    config->prepare.threads = 2;
    auto report = Prepare(*config, dir_.File("out"), NoProgress());
    ASSERT_TRUE(report.ok()) << report.status();
    report_ = *std::move(report);
    auto set = ShardSet::Open(dir_.File("out"));
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = *std::move(set);
  }

  // Calls visit(block, event) for every event.
  template <class Visit>
  void ForEachEvent(Visit visit) {
    for (const ShardSet::BlockRef& ref : set_->blocks()) {
      const auto block = set_->Read(ref);
      ASSERT_TRUE(block.ok()) << block.status();
      for (size_t i = 0; i < block->events.size(); ++i) visit(*block, i);
    }
  }

  uint64_t CountLabels(Split split) {
    uint64_t sum = 0;
    ForEachEvent([&](const UserBlock& block, size_t i) {
      if (block.events.split[i] == split) sum += block.events.labels[i] & 1;
    });
    return sum;
  }

  TempDir dir_;
  PrepareReport report_;
  std::unique_ptr<ShardSet> set_;
};

#define GRAB_DATA_OR_SKIP(folder, set)                                                         \
  const char* const data_root = std::getenv("GRAB_DATA");                                      \
  if (data_root == nullptr || !Exists(JoinPath(data_root, set))) {                             \
    GTEST_SKIP() << "GRAB_DATA names no folder with " << (set) << "; this test needs its log"; \
  }                                                                                            \
  const std::string folder = JoinPath(data_root, set)

// 228,329 log rows, 5,460 of them duplicates; the prefix adds up to 50 events of 26,469 users, all
// before 25 April Beijing, with a label of the auxiliary task and none of the click.
TEST_F(Configs, Kuairand) {
  GRAB_DATA_OR_SKIP(folder, "kuairand_pure_14d");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("kuairand", folder));
  EXPECT_EQ(report_.rejects.total(), 0u);
  EXPECT_EQ(report_.notes.count("exact duplicates dropped"), 5460u);
  constexpr int64_t kLogStartMs = 1650816000000;  // 25 April 2022, 00:00 in Beijing
  const uint32_t click = 1u << 6;
  const uint32_t click_label = 1, long_view_label = 2;
  uint64_t prefix = 0;
  uint64_t early = 0;
  ForEachEvent([&](const UserBlock& block, size_t i) {
    const EventColumns& events = block.events;
    EXPECT_NE(events.split[i], Split::kContext);
    if (events.labels_known[i] == click_label) return;
    ++prefix;
    EXPECT_EQ(events.labels_known[i], long_view_label);
    EXPECT_EQ(events.split[i], Split::kTrain);
    EXPECT_LT(events.known_time_ms[i], kLogStartMs);
    EXPECT_GE(events.known_time_ms[i], kLogStartMs - 17 * kDayMs);
    EXPECT_EQ(events.actions_known[i] & click, 0u);
    early += events.page_id[i] != 0;
  });
  EXPECT_EQ(report_.targets[1] + report_.targets[2] + report_.targets[3], 228329u - 5460u + prefix);
  EXPECT_EQ(early, 0u);
  EXPECT_GT(prefix, 500000u);
  EXPECT_LE(prefix, 26469u * 50);
  // The README's CTR of .4419 is over all rows; duplicates move it by less than their share.
  const double clicks = static_cast<double>(CountLabels(Split::kTrain) +
                                            CountLabels(Split::kValid) + CountLabels(Split::kTest));
  EXPECT_NEAR(clicks / (228329 - 5460), 0.4419, 5460.0 / 228329);
}

TEST_F(Configs, MlLatestSmall) {
  GRAB_DATA_OR_SKIP(folder, "ml_latest_small");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("ml_latest_small", folder));
  EXPECT_EQ(report_.events, 100836u);
  EXPECT_EQ(report_.users, 610u);
  EXPECT_EQ(report_.rejects.total(), 0u);
  EXPECT_EQ(report_.targets[0], 0u);
  EXPECT_EQ(CountLabels(Split::kTrain) + CountLabels(Split::kValid) + CountLabels(Split::kTest),
            48580u);
}

TEST_F(Configs, Ml100k) {
  GRAB_DATA_OR_SKIP(folder, "ml100k");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("ml100k", folder));
  EXPECT_EQ(report_.events, 100000u);
  EXPECT_EQ(report_.users, 943u);
  EXPECT_EQ(report_.targets[0], 0u);
  EXPECT_EQ(CountLabels(Split::kTrain) + CountLabels(Split::kValid) + CountLabels(Split::kTest),
            55375u);
}

TEST_F(Configs, Ml1mCollm) {
  GRAB_DATA_OR_SKIP(folder, "ml1m_collm");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("ml1m_collm", folder));
  EXPECT_EQ(report_.users, 838u);
  EXPECT_EQ(report_.targets[1], 33891u);
  EXPECT_EQ(report_.targets[2], 10401u);
  EXPECT_EQ(report_.targets[3], 7331u);
  EXPECT_NEAR(static_cast<double>(CountLabels(Split::kTest)) / 7331, 0.5454, 5e-5);
}

TEST_F(Configs, KnowledgeTracing) {
  GRAB_DATA_OR_SKIP(folder, "knowledge_tracing");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("knowledge_tracing", folder));
  EXPECT_EQ(report_.users, 2921u + 1230u);
  EXPECT_EQ(report_.targets[1] + report_.targets[2], 224218u);
  EXPECT_EQ(report_.targets[3], 101419u);
  // A tenth of the students by hash: of 2,921, within five standard deviations of 16.
  EXPECT_NEAR(static_cast<double>(report_.targets[2]) / 224218, 0.1, 0.05);
}

// Every click is history. Of the 253,882 clicks in [split] each has up to four drawn candidates
// beside it, on its page and at its time, which are never history and which the user did not click
// in that hour; one lonely click has none.
TEST_F(Configs, Globo) {
  GRAB_DATA_OR_SKIP(folder, "globo_clicks");
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("globo", folder));
  constexpr uint64_t kClicks = 2988181;
  EXPECT_EQ(report_.users, 322897u);
  EXPECT_EQ(report_.rejects.total(), 0u);
  EXPECT_EQ(CountLabels(Split::kTrain) + CountLabels(Split::kValid) + CountLabels(Split::kTest),
            253882u);
  EXPECT_EQ(report_.targets[0], kClicks - 253882);
  std::set<std::tuple<std::string, int64_t, uint64_t>> clicked;  // user, hour, article
  const auto key = [](const UserBlock& block, size_t i) {
    const auto next = std::upper_bound(block.user_offsets.begin(), block.user_offsets.end(), i);
    const auto user = static_cast<size_t>(next - block.user_offsets.begin()) - 1;
    return std::tuple(block.user_id[user], block.events.request_time_ms[i] / kHourMs,
                      block.events.fields[0].ids[i]);
  };
  std::map<uint64_t, std::vector<int64_t>> page_ms;
  uint64_t drawn = 0;
  ForEachEvent([&](const UserBlock& block, size_t i) {
    const EventColumns& events = block.events;
    if (events.split[i] == Split::kContext) return;
    page_ms[events.page_id[i]].push_back(events.request_time_ms[i]);
    EXPECT_EQ(events.labels[i], events.history[i]);
    if (events.history[i] != 0) {
      clicked.insert(key(block, i));
    } else {
      ++drawn;
    }
  });
  EXPECT_EQ(report_.events, kClicks + drawn);
  EXPECT_GT(drawn, 4 * 253882u - 1000);
  EXPECT_EQ(page_ms.size(), 253882u);
  for (const auto& [page, times_ms] : page_ms) {
    EXPECT_LE(times_ms.size(), 5u);
    EXPECT_EQ(std::count(times_ms.begin(), times_ms.end(), times_ms[0]),
              static_cast<ptrdiff_t>(times_ms.size()));
  }
  ForEachEvent([&](const UserBlock& block, size_t i) {
    EXPECT_TRUE(block.events.history[i] != 0 || !clicked.contains(key(block, i)));
  });
}

// Three lines per user and day; every line has two signs in slot 1 and one in slot 28.
TEST_F(Configs, TextLog) {
  const std::string folder = dir_.File("text");
  ASSERT_TRUE(MakeDirectories(folder).ok());
  constexpr int64_t kStartS = 1704067200;  // 2024-01-01 UTC
  uint64_t lines = 0;
  {
    std::ofstream out(JoinPath(folder, "log.txt"));
    Rng rng(1);
    for (int day = 0; day < 7; ++day) {
      for (int user = 0; user < 20; ++user) {
        for (int i = 0; i < 3; ++i, ++lines) {
          out << "log" << lines << ",user" << user << ",ad" << rng.Below(10) << ',' << rng.Below(2)
              << ',' << kStartS + day * 86400 + i * 100 << ",s" << rng.Below(5) << ":1,t"
              << rng.Below(5) << ":1,z:28\n";
        }
      }
    }
  }
  ASSERT_NO_FATAL_FAILURE(PrepareConfig("text_log", folder));
  EXPECT_EQ(report_.events, lines);
  EXPECT_EQ(report_.users, 20u);
  EXPECT_EQ(report_.targets[1], 300u);
  EXPECT_EQ(report_.targets[2], 60u);
  EXPECT_EQ(report_.targets[3], 60u);
  const Schema& schema = set_->schema();
  const size_t first = static_cast<size_t>(schema.FieldIndex("slot_1"));
  const size_t last = static_cast<size_t>(schema.FieldIndex("slot_28"));
  ASSERT_EQ(last, first + 27);
  ForEachEvent([&](const UserBlock& block, size_t i) {
    const auto count = [&](size_t f) {
      const auto& offsets = block.events.fields[f].offsets;
      return offsets[i + 1] - offsets[i];
    };
    EXPECT_EQ(count(first), 2u);
    EXPECT_EQ(count(first + 1), 0u);
    EXPECT_EQ(count(last), 1u);
    EXPECT_EQ(block.events.fields[last].ids[block.events.fields[last].offsets[i]], HashId("z"));
  });
}

}  // namespace
}  // namespace grab
