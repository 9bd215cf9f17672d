// Random events with every field kind, for property and parity tests: small, seeded, and rich in
// ties (equal request times, equal known times, late feedback, unknown actions) and candidates that
// never become history.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "config/settings.h"
#include "data/timeline.h"

namespace grab::testing {

inline FieldConfig MakeField(const std::string& name, const std::string& kind,
                             const std::string& role) {
  FieldConfig field;
  field.name = name;
  field.kind = kind;
  field.role = role;
  return field;
}

// A config with all field kinds and roles, two actions and two tasks.
inline Config MakeConfig() {
  Config config;
  config.name = "random";
  config.fields = {MakeField("ad", "id", "item"),
                   MakeField("tags", "ids", "item"),
                   MakeField("price", "number", "item"),
                   MakeField("image", "dense", "item"),
                   MakeField("hour", "id", "context"),
                   MakeField("user", "id", "user"),
                   MakeField("dwell", "number", "behaviour"),
                   MakeField("ad_x_hour", "cross", "item")};
  config.fields[1].weights = "w";
  config.fields[2].boundaries = {0.25, 0.5, 0.75};
  config.fields[3].width = 3;
  config.fields[6].boundaries = {1.0, 2.0};
  config.fields[7].of = {"ad", "hour"};
  config.actions = {{"buy", ""}, {"click", ""}};
  config.tasks = {{"click", "", 1.0}, {"buy", "", 0.5}};
  ModelConfig& model = config.grab.model;
  model.embedding_dim = 4;
  model.tokenizer_hidden = 7;
  model.d_model = 6;
  model.heads = 2;
  model.layers = 2;
  model.ffn_hidden = 9;
  model.position_buckets = 6;
  model.time_buckets = 5;
  model.time_max_s = 1000.0;
  model.head_hidden = {5};
  ChannelConfig all;
  all.name = "all";
  all.window_len = 4;
  ChannelConfig clicks;
  clicks.name = "clicks";
  clicks.actions = {"buy", "click"};
  clicks.window_len = 3;
  clicks.window_time_s = 60.0;
  model.channels = {all, clicks};
  config.dlrm.model = model;
  config.dlrm.model.channels.clear();
  for (ModelRunConfig* other :
       {&config.din, &config.sim, &config.eta, &config.twin, &config.hstu}) {
    other->model = model;
    other->model.channels = {all};
    other->model.search.recent = 2;
    other->model.search.found = 2;
    other->model.search.hash_bits = 16;
  }
  return config;
}

// Appends one event; behaviour follows the label so that a leak would help a model.
inline void AddRandomEvent(Rng& rng, uint64_t event_id, int64_t request_ms, EventColumns& events) {
  const bool clicked = rng.Bernoulli(0.4);
  const bool bought = clicked && rng.Bernoulli(0.3);
  events.event_id.push_back(event_id);
  events.request_time_ms.push_back(request_ms);
  events.known_time_ms.push_back(request_ms + static_cast<int64_t>(rng.Below(3)) * 4000);
  events.page_id.push_back(static_cast<uint64_t>(request_ms) + 1);
  events.session_id.push_back(0);
  const bool target = rng.Bernoulli(0.7);
  events.split.push_back(target ? Split::kTrain : Split::kContext);
  events.history.push_back(event_id % 8 != 0 ? 1 : 0);
  const uint32_t known = rng.Bernoulli(0.8) ? 3u : 1u;
  events.actions.push_back(((clicked ? 2u : 0u) | (bought ? 1u : 0u)) & known);
  events.actions_known.push_back(known);
  events.labels.push_back((clicked ? 1u : 0u) | (bought ? 2u : 0u));
  events.labels_known.push_back(clicked ? 3u : 1u);
  const auto id = [&](uint64_t n) { return rng.Bernoulli(0.1) ? 0 : 1 + rng.Below(n); };
  const auto number = [&](double scale) {
    return rng.Bernoulli(0.1) ? std::numeric_limits<float>::quiet_NaN()
                              : static_cast<float>(scale * rng.Uniform());
  };
  events.fields[0].ids.push_back(id(12));
  const uint64_t tags = rng.Below(4);
  for (uint64_t i = 0; i < tags; ++i) {
    events.fields[1].ids.push_back(1 + rng.Below(6));
    events.fields[1].numbers.push_back(static_cast<float>(0.5 + rng.Uniform()));
  }
  events.fields[1].offsets.push_back(static_cast<uint32_t>(events.fields[1].ids.size()));
  events.fields[2].numbers.push_back(number(1.0));
  const bool no_image = rng.Bernoulli(0.2);
  for (int d = 0; d < 3; ++d) {
    events.fields[3].numbers.push_back(no_image ? std::numeric_limits<float>::quiet_NaN()
                                                : static_cast<float>(rng.Normal()));
  }
  events.fields[4].ids.push_back(1 + rng.Below(24));
  events.fields[5].ids.push_back(id(3));
  events.fields[6].numbers.push_back(clicked ? 2.5f : number(1.0));
}

// Users with 1 .. events_max events each, requests 0-20 s apart (0: one page).
inline UserBlock MakeBlock(const Schema& schema, uint64_t seed, int users, int events_max) {
  Rng rng(seed);
  UserBlock sorted;
  sorted.events = MakeColumns(schema);
  sorted.user_offsets = {0};
  uint64_t next_event_id = 1000 * seed;
  for (int user = 0; user < users; ++user) {
    EventColumns events = MakeColumns(schema);
    int64_t now_ms = 1700000000000 + static_cast<int64_t>(rng.Below(100000));
    const uint64_t count = 1 + rng.Below(static_cast<uint64_t>(events_max));
    for (uint64_t i = 0; i < count; ++i) {
      if (!rng.Bernoulli(0.3)) now_ms += static_cast<int64_t>(rng.Below(20)) * 1000;
      AddRandomEvent(rng, ++next_event_id, now_ms, events);
    }
    std::vector<size_t> order(events.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return events.known_time_ms[a] < events.known_time_ms[b];
    });
    for (const size_t i : order) AppendEvent(schema, events, i, sorted.events);
    sorted.user_id.push_back("user-" + std::to_string(seed) + "-" + std::to_string(user));
    sorted.user_offsets.push_back(static_cast<uint32_t>(sorted.events.size()));
  }
  return sorted;
}

}  // namespace grab::testing
