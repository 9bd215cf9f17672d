// Synthetic users, from seeds, for whole models, packed by the same code that packs real logs.
#pragma once

#include <memory>
#include <vector>

#include "base/rng.h"
#include "batch/builder.h"
#include "bench/sizes.h"
#include "embedding/table.h"
#include "model/model.h"

namespace grab::bench {

constexpr double kTimeMaxS = 30.0 * 86400;
constexpr int64_t kStartMs = 1700000000000;

// Time between events of a user: mostly within a session, some over night; median a minute.
int64_t GapMs(Rng& rng);

// Events of the users of the long-tailed mix, one of them the longest; all even.
std::vector<int64_t> MixedLengths(const Sizes& sizes, uint64_t seed);

// A model and users for it. Fields: 5 of the item (one multi-valued, one number), 3 of the context,
// 2 of the user, and feedback: 11 slots. Channels: every event; the clicked ones (one in five).
struct World {
  Config config;
  ModelSpec spec;
  int64_t ads = 0;  // distinct ads, and users: rows of the largest tables
};
std::unique_ptr<World> MakeWorld(const Sizes& sizes, int channels, int64_t window_len);

constexpr double kTableRate = 0.05;

// Tables with a row for every id of the world, trained at kTableRate.
std::vector<EmbeddingTable> MakeTables(const World& world, SparseOptimiser optimiser);

// One user per entry of `events`; times in sessions, feedback known a second after the request.
UserBlock MakeUsers(const World& world, const std::vector<int64_t>& events, uint64_t seed);

// Every event of every user a target.
Batch PackUsers(const ModelSpec& spec, const UserBlock& block);

// A user's `events` events as history, and `candidates` more that share one request after them.
UserBlock MakeRankUser(const World& world, int64_t events, int64_t candidates, uint64_t seed);
// Targets: the candidates [begin, end).
Batch PackCandidates(const ModelSpec& spec, const UserBlock& block, int64_t events, int64_t begin,
                     int64_t end);

// Weights for a model of the world, from a training net's initial ones.
Model MakeModel(const World& world, uint64_t seed);

}  // namespace grab::bench
