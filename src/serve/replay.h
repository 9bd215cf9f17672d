// A user's timeline played through an engine as a server would live it: what offline scores of the
// engine are made of.
#pragma once

#include <vector>

#include "serve/engine.h"

namespace grab {

// logits [targets, tasks]: every target of `user` (indices into the block) scored at its request,
// when all events known strictly before it, and no others, have been appended. The user is
// prefilled at its first target, and dropped at the end.
Status ReplayUser(Engine& engine, const UserBlock& block, uint32_t user,
                  const std::vector<uint32_t>& targets, float* logits);

}  // namespace grab
