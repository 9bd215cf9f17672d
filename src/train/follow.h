// Training that follows a growing log (DESIGN 4, "Streaming windows"; docs/streaming.md): pass by
// pass over time, every label once, each pass scored before it is trained on, a model released
// after it.
//
// The run folder, beside that of trainer.h:
//   passes.json       what finished passes saw of the log (data/pass_ledger.h)
//   progressive.jsonl what the model scored on each pass before training on it, and auc.svg,
//                     pcoc.svg of it (eval/progressive.h)
//   pass-FROM_MS/     the shards of the pass in hand
//   releases/         models for serving, the newest and what they build on (train/release.h)
//
// A run that is killed at any instant and resumed leaves the files that an uninterrupted one
// leaves, as long as the log gives the same events for the passes before its end.
#pragma once

#include <cstdint>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"
#include "train/session.h"

namespace grab {

struct FollowOptions {
  SessionOptions session;
  bool log_ended = false;  // the log will not grow: train what it holds, then stop
  int64_t passes_max = 0;  // stop after this many passes of this call; 0: no limit
};

Status Follow(const Config& config, const FollowOptions& options, Progress& progress);

}  // namespace grab
