#include "bench/world.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/hash.h"
#include "train/net.h"

namespace grab::bench {
namespace {

constexpr double kClickRate = 0.2;

// Ids 1 .. n, low ones often.
uint64_t Popular(Rng& rng, int64_t n) {
  const double u = rng.Uniform();
  return HashId(1 + static_cast<int64_t>(u * u * u * static_cast<double>(n)));
}

// Distinct ids of the fields, in the order of the config.
std::vector<int64_t> Vocabularies(int64_t largest) {
  return {largest, largest / 20, 200, 5000, 0, 24, 40, 8, largest, 60};
}

FieldConfig Field(const char* name, const char* kind, const char* role) {
  FieldConfig field;
  field.name = name;
  field.kind = kind;
  field.role = role;
  return field;
}

Config MakeConfig(const Sizes& sizes, int channels, int64_t window_len) {
  Config config;
  config.name = "bench";
  config.fields = {Field("ad", "id", "item"),        Field("advertiser", "id", "item"),
                   Field("category", "id", "item"),  Field("tags", "ids", "item"),
                   Field("price", "number", "item"), Field("hour", "id", "context"),
                   Field("place", "id", "context"),  Field("device", "id", "context"),
                   Field("user", "id", "user"),      Field("segment", "id", "user")};
  for (int i = 1; i < 20; ++i) config.fields[4].boundaries.push_back(i / 20.0);
  config.actions = {{"buy", ""}, {"click", ""}};
  config.tasks = {{"click", "", 1.0}};
  ModelConfig& model = config.grab.model;
  model.embedding_dim = sizes.embedding_dim;
  model.tokenizer_hidden = sizes.tokenizer_hidden;
  model.d_model = sizes.d_model;
  model.heads = sizes.heads;
  model.layers = sizes.layers;
  model.ffn_hidden = sizes.ffn_hidden;
  model.position_buckets = sizes.buckets;
  model.time_buckets = sizes.buckets;
  model.time_max_s = kTimeMaxS;
  model.head_hidden = {sizes.head_hidden};
  ChannelConfig all, clicks;
  all.name = "all";
  clicks.name = "clicks";
  clicks.actions = {"buy", "click"};
  all.window_len = clicks.window_len = window_len;
  model.channels = {all, clicks};
  model.channels.resize(static_cast<size_t>(channels));
  return config;
}

void AppendFields(const std::vector<int64_t>& vocabularies, uint64_t user, Rng& rng,
                  EventColumns& events) {
  for (size_t f = 0; f < events.fields.size(); ++f) {
    FieldColumn& column = events.fields[f];
    if (f == 3) {  // tags
      const uint64_t tags = 1 + rng.Below(4);
      for (uint64_t i = 0; i < tags; ++i) column.ids.push_back(Popular(rng, vocabularies[f]));
      column.offsets.push_back(static_cast<uint32_t>(column.ids.size()));
    } else if (f == 4) {  // price
      column.numbers.push_back(static_cast<float>(rng.Uniform()));
    } else if (f >= 8) {  // of the user
      column.ids.push_back(
          HashId(1 + static_cast<int64_t>(user % static_cast<uint64_t>(vocabularies[f]))));
    } else {
      column.ids.push_back(Popular(rng, vocabularies[f]));
    }
  }
}

void AppendEvent(const std::vector<int64_t>& vocabularies, uint64_t user, int64_t request_ms,
                 Rng& rng, EventColumns& events) {
  const bool clicked = rng.Bernoulli(kClickRate);
  const bool bought = clicked && rng.Bernoulli(0.1);
  events.event_id.push_back(events.size() + 1);
  events.request_time_ms.push_back(request_ms);
  events.known_time_ms.push_back(request_ms + 1000);
  events.page_id.push_back(0);
  events.session_id.push_back(0);
  events.split.push_back(Split::kTrain);
  events.history.push_back(1);
  events.actions.push_back((clicked ? 2u : 0u) | (bought ? 1u : 0u));
  events.actions_known.push_back(3u);
  events.labels.push_back(clicked ? 1u : 0u);
  events.labels_known.push_back(1u);
  AppendFields(vocabularies, user, rng, events);
}

// All targets of a user as one segment.
void AppendSegment(const BatchBuilder& builder, const UserBlock& block, uint32_t user,
                   const std::vector<uint32_t>& targets, Batch& batch) {
  std::vector<TargetGroup> groups;
  builder.Plan(block, user, block.user_offsets[user], block.user_offsets[user + 1], targets,
               std::numeric_limits<uint64_t>::max(), groups);
  for (const TargetGroup& group : groups) builder.Append(block, group, batch);
}

}  // namespace

int64_t GapMs(Rng& rng) {
  return 2000 + static_cast<int64_t>(60000.0 * std::exp(std::min(9.0, 2.0 * rng.Normal())));
}

std::vector<int64_t> MixedLengths(const Sizes& sizes, uint64_t seed) {
  Rng rng(seed);
  std::vector<int64_t> lengths = {sizes.mix_longest};
  while (static_cast<int64_t>(lengths.size()) < sizes.mix_segments) {
    const double length = sizes.mix_median * std::exp(sizes.mix_sigma * rng.Normal());
    lengths.push_back(std::clamp<int64_t>(2 * std::llround(length / 2), 2, sizes.mix_longest));
  }
  return lengths;
}

std::unique_ptr<World> MakeWorld(const Sizes& sizes, int channels, int64_t window_len) {
  auto world = std::make_unique<World>();
  world->ads = sizes.table_rows;
  world->config = MakeConfig(sizes, channels, window_len);
  const Schema schema = Schema::FromConfig(world->config).value();
  world->spec = ModelSpec::FromConfig(world->config, ModelKind::kGrab, schema).value();
  return world;
}

std::vector<EmbeddingTable> MakeTables(const World& world, SparseOptimiser optimiser) {
  const std::vector<int64_t> vocabularies = Vocabularies(world.ads);
  const TokenSpec& tokens = world.spec.tokens;
  std::vector<EmbeddingTable> tables;
  for (const TableSpec& table : tokens.tables) {
    TableOptions options{table.dim, optimiser, 0.1, HashId(table.name)};
    options.learning_rate = kTableRate;
    tables.emplace_back(options);
  }
  for (const TokenSlot& slot : tokens.slots) {
    if (slot.kind != SlotKind::kId && slot.kind != SlotKind::kIds) continue;
    for (int64_t id = 1; id <= vocabularies[static_cast<size_t>(slot.fields[0])]; ++id) {
      tables[static_cast<size_t>(slot.table)].FindOrInsert(HashId(id));
    }
  }
  return tables;
}

UserBlock MakeUsers(const World& world, const std::vector<int64_t>& events, uint64_t seed) {
  UserBlock block;
  block.events = MakeColumns(world.spec.tokens.schema);
  block.user_offsets = {0};
  const std::vector<int64_t> vocabularies = Vocabularies(world.ads);
  for (size_t user = 0; user < events.size(); ++user) {
    Rng rng(seed, user);
    int64_t now_ms = kStartMs;
    for (int64_t i = 0; i < events[user]; ++i) {
      now_ms += GapMs(rng);
      AppendEvent(vocabularies, user, now_ms, rng, block.events);
    }
    block.user_id.push_back(absl::StrCat("user ", user));
    block.user_offsets.push_back(static_cast<uint32_t>(block.events.size()));
  }
  return block;
}

Batch PackUsers(const ModelSpec& spec, const UserBlock& block) {
  const BatchBuilder builder = BatchBuilder::Create(spec.tokens, spec.Plan()).value();
  Batch batch = builder.Empty();
  for (uint32_t user = 0; user < block.users(); ++user) {
    std::vector<uint32_t> targets(block.user_offsets[user + 1] - block.user_offsets[user]);
    std::iota(targets.begin(), targets.end(), block.user_offsets[user]);
    AppendSegment(builder, block, user, targets, batch);
  }
  return batch;
}

UserBlock MakeRankUser(const World& world, int64_t events, int64_t candidates, uint64_t seed) {
  UserBlock block = MakeUsers(world, {events}, seed);
  const std::vector<int64_t> vocabularies = Vocabularies(world.ads);
  Rng rng(seed, 1);
  const int64_t now_ms = block.events.known_time_ms.back() + 60000;
  for (int64_t i = 0; i < candidates; ++i) {
    AppendEvent(vocabularies, 0, now_ms, rng, block.events);
  }
  block.user_offsets.back() = static_cast<uint32_t>(block.events.size());
  return block;
}

Batch PackCandidates(const ModelSpec& spec, const UserBlock& block, int64_t events, int64_t begin,
                     int64_t end) {
  const BatchBuilder builder = BatchBuilder::Create(spec.tokens, spec.Plan()).value();
  Batch batch = builder.Empty();
  std::vector<uint32_t> targets(static_cast<size_t>(end - begin));
  std::iota(targets.begin(), targets.end(), static_cast<uint32_t>(events + begin));
  AppendSegment(builder, block, 0, targets, batch);
  return batch;
}

Model MakeModel(const World& world, uint64_t seed) {
  Model model;
  model.spec = world.spec;
  const Net net(world.spec, seed);
  for (const auto& [name, weight] : net.weights()) {
    const torch::Tensor values = weight.detach().contiguous();
    model.weights[name].assign(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
  }
  model.tables = MakeTables(world, SparseOptimiser::kNone);
  return model;
}

}  // namespace grab::bench
