// Every model of the zoo learns a task that needs its mechanism, and the model without it does not:
// the newest events (DIN against DLRM), an event beyond them (SIM, ETA and TWIN against DIN), how
// many events there are (HSTU, which does not divide by their number, against chance). Histories
// are random, so nothing else predicts the label. AUC on users that were not trained on; with 1,000
// of them its standard error at .5 is .018, so .6 means chance.
#include <gtest/gtest.h>

#include "eval/metrics.h"
#include "support/random_model.h"
#include "support/random_world.h"
#include "train/run_state.h"
#include "train/step.h"

namespace grab {
namespace {

constexpr uint64_t kCategories = 20;
constexpr uint64_t kItemsPerCategory = 5;

struct Event {
  uint64_t category = 0;
  bool clicked = false;
};

struct Story {
  std::vector<Event> history;
  uint64_t category = 0;  // of the candidate
  bool label = false;
};

using Task = std::function<Story(Rng& rng)>;

Event RandomEvent(Rng& rng) { return {1 + rng.Below(kCategories), rng.Bernoulli(0.5)}; }

// Events of any category but the candidate's.
Story Unrelated(int events, Rng& rng) {
  Story story;
  story.category = 1 + rng.Below(kCategories);
  while (static_cast<int>(story.history.size()) < events) {
    const Event event = RandomEvent(rng);
    if (event.category != story.category) story.history.push_back(event);
  }
  return story;
}

// Whether the candidate's category was among the newest four events.
Story SeenLately(Rng& rng) {
  Story story = Unrelated(8, rng);
  story.label = rng.Bernoulli(0.5);
  if (story.label) story.history[4 + rng.Below(4)].category = story.category;
  return story;
}

// Whether the only event of the candidate's category, beyond the newest four, was clicked.
Story ClickedLongAgo(Rng& rng) {
  Story story = Unrelated(20, rng);
  Event& telling = story.history[rng.Below(16)];
  telling.category = story.category;
  story.label = telling.clicked;
  return story;
}

// Whether there are more than twelve events.
Story ManyEvents(Rng& rng) {
  Story story = Unrelated(4 + static_cast<int>(rng.Below(18)), rng);
  story.label = story.history.size() > 12;
  return story;
}

Config TaskConfigOf() {
  Config config;
  config.name = "zoo";
  config.fields = {testing::MakeField("item", "id", "item"),
                   testing::MakeField("category", "id", "item")};
  config.actions = {{"click", ""}};
  config.tasks = {{"click", "", 1.0}};
  for (ModelRunConfig* run :
       {&config.dlrm, &config.din, &config.sim, &config.eta, &config.twin, &config.hstu}) {
    run->model.embedding_dim = 16;
    run->model.d_model = 32;
    run->model.tokenizer_hidden = 64;
    run->model.head_hidden = {32};
    run->model.layers = 1;
    run->model.search.recent = 4;
    run->model.search.found = 4;
    run->train.seed = 1;
  }
  return config;
}

void Append(const Event& event, int64_t time_ms, Split split, bool label, Rng& rng,
            EventColumns& events) {
  events.event_id.push_back(events.size() + 1);
  events.request_time_ms.push_back(time_ms);
  events.known_time_ms.push_back(time_ms);
  events.page_id.push_back(0);
  events.session_id.push_back(0);
  events.split.push_back(split);
  events.history.push_back(1);
  events.actions.push_back(event.clicked ? 1 : 0);
  events.actions_known.push_back(1);
  events.labels.push_back(label ? 1 : 0);
  events.labels_known.push_back(1);
  events.fields[0].ids.push_back(event.category * 1000 + rng.Below(kItemsPerCategory));
  events.fields[1].ids.push_back(event.category);
}

UserBlock MakeUsers(const Schema& schema, const Task& task, uint64_t users, Rng& rng) {
  UserBlock block;
  block.events = MakeColumns(schema);
  block.user_offsets = {0};
  for (uint64_t user = 0; user < users; ++user) {
    const Story story = task(rng);
    int64_t time_ms = 1700000000000;
    for (const Event& event : story.history) {
      Append(event, time_ms += 60000, Split::kContext, false, rng, block.events);
    }
    Append({story.category, false}, time_ms + 60000, Split::kTrain, story.label, rng, block.events);
    block.user_id.push_back(std::to_string(user));
    block.user_offsets.push_back(static_cast<uint32_t>(block.events.size()));
  }
  return block;
}

double LearnedAuc(const Config& config, ModelKind kind, const Task& task, int steps_max = 400) {
  constexpr uint64_t kBatchUsers = 64, kTestUsers = 1000;
  const Schema schema = *Schema::FromConfig(config);
  const ModelSpec spec = *ModelSpec::FromConfig(config, kind, schema);
  TrainConfig train = RunConfigOf(config, kind).train;
  train.mode = "end_to_end";
  RunState state(spec, train);
  const std::vector<double> task_weights = {1.0};
  StepRunner steps(spec, train, task_weights, nullptr, state, 1, Precision::kF32);
  Rng rng(7);
  for (int i = 0; i < steps_max; ++i) {
    const Batch batch = testing::PackAll(spec, MakeUsers(schema, task, kBatchUsers, rng));
    const StatusOr<StepResult> result = steps.Step(Stage::kJoint, batch, {3.0, 3.0});
    EXPECT_TRUE(result.ok()) << result.status();
  }
  const Batch batch = testing::PackAll(spec, MakeUsers(schema, task, kTestUsers, rng));
  const std::vector<float> logits = steps.Logits(Stage::kJoint, batch);
  std::vector<double> p;
  std::vector<uint8_t> label;
  for (size_t i = 0; i < logits.size(); ++i) {
    p.push_back(1.0 / (1.0 + std::exp(-logits[i])));
    label.push_back(static_cast<uint8_t>(batch.labels[i]));
  }
  const double auc = ComputeMetrics(p, label)->auc.value();
  std::printf("%s: AUC %.4f\n", ModelKindName(kind), auc);
  return auc;
}

TEST(Zoo, DinReadsTheNewestEvents) {
  const Config config = TaskConfigOf();
  EXPECT_LT(LearnedAuc(config, ModelKind::kDlrm, SeenLately, 2000), 0.6);
  EXPECT_GT(LearnedAuc(config, ModelKind::kDin, SeenLately, 2000), 0.9);
}

TEST(Zoo, SearchFindsAnEventBeyondThem) {
  Config config = TaskConfigOf();
  EXPECT_LT(LearnedAuc(config, ModelKind::kDin, ClickedLongAgo), 0.6);
  for (const ModelKind kind : {ModelKind::kSim, ModelKind::kEta, ModelKind::kTwin}) {
    EXPECT_GT(LearnedAuc(config, kind, ClickedLongAgo), 0.9) << ModelKindName(kind);
  }
  config.sim.model.search.field = "category";
  EXPECT_GT(LearnedAuc(config, ModelKind::kSim, ClickedLongAgo), 0.9) << "by field";
}

TEST(Zoo, HstuCounts) {
  const Config config = TaskConfigOf();
  EXPECT_LT(LearnedAuc(config, ModelKind::kDlrm, ManyEvents), 0.6);
  EXPECT_GT(LearnedAuc(config, ModelKind::kHstu, ManyEvents), 0.9);
}

// With a window of 0 a batch holds no event, and every model trains and scores on candidates alone.
TEST(Zoo, AWindowOfZeroHidesTheHistory) {
  Config config = TaskConfigOf();
  config.grab = config.hstu;
  for (ModelRunConfig* run :
       {&config.din, &config.sim, &config.eta, &config.twin, &config.hstu, &config.grab}) {
    run->model.channels.emplace_back();
    run->model.channels[0].name = "all";
    run->model.channels[0].window_len = 0;
    run->train.mode = "end_to_end";
  }
  const Schema schema = *Schema::FromConfig(config);
  const std::vector<double> task_weights = {1.0};
  for (const ModelKind kind : kModelKinds) {
    if (!HasHistory(kind)) continue;
    SCOPED_TRACE(ModelKindName(kind));
    const ModelSpec spec = *ModelSpec::FromConfig(config, kind, schema);
    const TrainConfig& train = RunConfigOf(config, kind).train;
    RunState state(spec, train);
    StepRunner steps(spec, train, task_weights, nullptr, state, 2, Precision::kF32);
    Rng rng(7);
    const Batch batch = testing::PackAll(spec, MakeUsers(schema, SeenLately, 16, rng));
    EXPECT_EQ(batch.partial.rows, 0u);
    ASSERT_EQ(batch.full.rows, 16u);
    const std::vector<float> before = steps.Logits(Stage::kJoint, batch);
    for (int i = 0; i < 3; ++i) {
      const StatusOr<StepResult> result = steps.Step(Stage::kJoint, batch, {3.0, 3.0});
      ASSERT_TRUE(result.ok()) << result.status();
    }
    const std::vector<float> after = steps.Logits(Stage::kJoint, batch);
    EXPECT_NE(before, after);
    for (const float logit : after) EXPECT_TRUE(std::isfinite(logit)) << logit;
  }
}

}  // namespace
}  // namespace grab
