// What there is to measure. A case makes several figures from one interleaved run; --only picks
// cases by their name or by the names of their figures.
#pragma once

#include <string>
#include <vector>

#include "bench/context.h"

namespace grab::bench {

struct Case {
  std::string name;
  std::vector<std::string> figures;  // names; ending in _ : several that start so
  void (*run)(Context& context);
};

const std::vector<Case>& Cases();

// Whether `only`, a prefix of a case or figure name, picks the case.
bool Picks(const std::string& only, const Case& candidate);

void RunCeilings(Context& context);         // cases_ceilings.cc
void RunAttention(Context& context);        // cases_attention.cc
void RunAttentionPadded(Context& context);  // cases_attention.cc
void RunTrainStep(Context& context);        // cases_train.cc
void RunRank(Context& context);             // cases_rank.cc
void RunAppend(Context& context);           // cases_rank.cc
void RunMicro(Context& context);            // cases_micro.cc
void RunLengths(Context& context);          // cases_length.cc

}  // namespace grab::bench
