#include "trees/feature_plan.h"

#include <algorithm>

namespace grab {
namespace {

void NameColumns(const Schema& schema, FeaturePlan& plan) {
  for (const Counter& counter : plan.counters) {
    plan.names.push_back(counter.name + ".exposures");
    for (const Outcome& outcome : plan.outcomes) {
      plan.names.push_back(absl::StrCat(counter.name, ".", outcome.name, ".positives"));
      plan.names.push_back(absl::StrCat(counter.name, ".", outcome.name, ".rate"));
    }
  }
  for (const int field : plan.numbers) {
    plan.names.push_back(schema.fields[static_cast<size_t>(field)].name);
  }
  plan.names.push_back("@user.seconds_since_last_event");
}

Status AddTasks(const Config& config, const Schema& schema, FeaturePlan& plan) {
  for (size_t t = 0; t < schema.tasks.size(); ++t) {
    if (schema.tasks.size() != config.tasks.size() || schema.tasks[t] != config.tasks[t].name) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the data has ", schema.tasks.size(), " tasks, number ", t + 1, " '", schema.tasks[t],
          "', the config other ", config.tasks.size(), "; prepare again"));
    }
    const TaskConfig& task = config.tasks[t];
    if (!task.auxiliary) plan.outcomes.push_back({task.name, task.delay_s, -1});
  }
  plan.tasks = plan.outcomes.size();
  return absl::OkStatus();
}

Status AddActions(const Config& config, const Schema& schema, FeaturePlan& plan) {
  for (const std::string& name : config.trees.actions) {
    const auto action = std::find(schema.actions.begin(), schema.actions.end(), name);
    if (action == schema.actions.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trees.actions: the data has no action '", name, "'; prepare again"));
    }
    plan.outcomes.push_back({"@" + name, 0, static_cast<int>(action - schema.actions.begin())});
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<FeaturePlan> FeaturePlan::Create(const Config& config, const TokenSpec& tokens) {
  FeaturePlan plan;
  plan.smoothing = config.trees.smoothing;
  plan.counters.push_back({"@user", -1, true, false});
  for (const FieldConfig& field : config.fields) {
    const TokenSlot* slot = tokens.FindSlot(field.name);
    if (slot == nullptr || !slot->full) continue;
    if (slot->kind == SlotKind::kNumber) plan.numbers.push_back(slot->fields[0]);
    if (slot->kind != SlotKind::kId && slot->kind != SlotKind::kIds) continue;
    const bool ids = slot->kind == SlotKind::kIds;
    plan.counters.push_back({field.name, slot->fields[0], false, ids});
    if (field.role == "user") continue;
    plan.counters.push_back({"@user." + field.name, slot->fields[0], true, ids});
  }
  GRAB_RETURN_IF_ERROR(AddTasks(config, tokens.schema, plan));
  GRAB_RETURN_IF_ERROR(AddActions(config, tokens.schema, plan));
  NameColumns(tokens.schema, plan);
  return plan;
}

}  // namespace grab
