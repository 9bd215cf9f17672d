// What boosted trees read of a candidate, by column.
//
// A counter counts events by a key: the user, the value of an id or ids field, or both together. Of
// each counter a target reads, as known strictly before its request,
//   exposures        events of its key
//   TASK.positives   of them those whose label of the task is known and 1
//   TASK.rate        smoothed share of positives among those whose label is known
// and the same of each of [trees] actions, as @ACTION.positives and @ACTION.rate. An ids field has
// several keys: their counts are added, the rate is that of the sums; weights are not read. Then
// come the number fields and the seconds since the user's last event. Only what is in a candidate's
// full token is read, so no behaviour field ever is; crosses and dense vectors are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "tokens/token_spec.h"

namespace grab {

struct Counter {
  std::string name;      // "@user", "FIELD" or "@user.FIELD"
  int field = -1;        // in Schema::fields; -1: none
  bool by_user = false;  // the user is in the key
  bool ids = false;      // several keys per event
};

// What a counter counts of its events: the labels of a task, or an action.
struct Outcome {
  std::string name;     // "TASK" or "@ACTION"
  int64_t delay_s = 0;  // when it is final (LabelFinalMs)
  int action = -1;      // bit of EventColumns::actions; -1: that of the labels at the same place
};

struct FeaturePlan {
  std::vector<Counter> counters;   // the first is the user
  std::vector<int> numbers;        // number fields, in Schema::fields
  std::vector<Outcome> outcomes;   // tasks, as the schema's but the auxiliary ones; then actions
  size_t tasks = 0;                // how many of them are tasks
  double smoothing = 1.0;          // labels of the rate of all that every key starts with
  std::vector<std::string> names;  // of the columns

  size_t columns() const { return names.size(); }

  // `tokens` is of `config` and the data. Other tasks in one than in the other, and an action that
  // the data lacks, are an InvalidArgument.
  static StatusOr<FeaturePlan> Create(const Config& config, const TokenSpec& tokens);
};

}  // namespace grab
