// Recorded requests that a model must answer as expected before it serves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "data/shard.h"
#include "ranking/served_model.h"

namespace grab {

inline constexpr uint64_t kCanaryEventsMax = 1 << 20;

class Canary {
 public:
  // `dir` holds shards of `grab prepare`: the targets of their test split are the requests. What is
  // expected of the model of a step is DIR/step-<12 digits>.csv (`grab score --out`); without that
  // file, what the whole-timeline forward computes in f32.
  static StatusOr<std::unique_ptr<Canary>> Open(const std::string& dir);

  // Largest difference of a probability that passes, by precision.
  static double Tolerance(Precision precision);

  // Scores the requests through the serving engine. FailedPrecondition names the task, the event,
  // the difference and what is allowed.
  Status Check(const ServedModel& model) const;

 private:
  Canary(std::string dir, std::unique_ptr<ShardSet> shards)
      : dir_(std::move(dir)), shards_(std::move(shards)) {}

  std::string dir_;
  std::unique_ptr<ShardSet> shards_;
};

}  // namespace grab
