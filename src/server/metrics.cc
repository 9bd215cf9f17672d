#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/text_serializer.h>

#include "absl/algorithm/container.h"
#include "base/check.h"

namespace grab {
namespace {

constexpr std::array<const char*, kStages> kStageNames = {"decode", "queue", "history",
                                                          "score",  "total", "commit"};

prometheus::Histogram::BucketBoundaries SecondsBuckets() {
  return {.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5};
}

prometheus::Histogram::BucketBoundaries ScoreBuckets() {
  return {.001, .0025, .005, .01, .025, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9};
}

}  // namespace

Metrics::Metrics(const std::vector<std::string>& tasks)
    : registry_(std::make_unique<prometheus::Registry>()) {
  calls_ = &prometheus::BuildCounter()
                .Name("grab_calls_total")
                .Help("Calls by method and how they ended")
                .Register(*registry_);
  auto& stages = prometheus::BuildHistogram()
                     .Name("grab_stage_seconds")
                     .Help("Seconds by stage; total is a whole Rank, commit a durable Observe")
                     .Register(*registry_);
  for (size_t s = 0; s < kStages; ++s) {
    stages_[s] = &stages.Add({{"stage", kStageNames[s]}}, SecondsBuckets());
  }
  auto& events = prometheus::BuildCounter()
                     .Name("grab_events_total")
                     .Help("Events of acknowledged Observe calls by outcome")
                     .Register(*registry_);
  const char* const outcomes[] = {"stored", "duplicate", "too_old"};
  for (size_t i = 0; i < events_.size(); ++i) events_[i] = &events.Add({{"outcome", outcomes[i]}});
  auto& scores = prometheus::BuildHistogram()
                     .Name("grab_scores")
                     .Help("Distribution of predicted probabilities")
                     .Register(*registry_);
  auto& predicted = prometheus::BuildCounter()
                        .Name("grab_feedback_predicted_total")
                        .Help(
                            "Sum of predictions whose label became known; over "
                            "grab_feedback_observed_total it is the live PCOC")
                        .Register(*registry_);
  auto& observed = prometheus::BuildCounter()
                       .Name("grab_feedback_observed_total")
                       .Help("Of those predictions, labels that were positive")
                       .Register(*registry_);
  auto& feedback = prometheus::BuildCounter()
                       .Name("grab_feedback_total")
                       .Help("Predictions whose label became known")
                       .Register(*registry_);
  for (const std::string& task : tasks) {
    const prometheus::Labels labels = {{"task", task}};
    tasks_.push_back({&scores.Add(labels, ScoreBuckets()), &predicted.Add(labels),
                      &observed.Add(labels), &feedback.Add(labels)});
  }
}

Metrics::~Metrics() = default;

void Metrics::CountCall(const char* method, absl::StatusCode code) {
  calls_->Add({{"method", method}, {"code", absl::StatusCodeToString(code)}}).Increment();
}

void Metrics::AddSeconds(Stage stage, double seconds) {
  stages_[static_cast<size_t>(stage)]->Observe(seconds);
}

void Metrics::CountEvents(absl::Span<const AppendOutcome> outcomes) {
  std::array<size_t, 3> counts{};
  for (const AppendOutcome outcome : outcomes) ++counts[static_cast<size_t>(outcome)];
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) events_[i]->Increment(static_cast<double>(counts[i]));
  }
}

void Metrics::AddScores(absl::Span<const float> probabilities) {
  for (size_t i = 0; i < probabilities.size(); ++i) {
    tasks_[i % tasks_.size()].scores->Observe(static_cast<double>(probabilities[i]));
  }
}

void Metrics::AddFeedback(size_t task, float predicted, bool happened) {
  tasks_[task].predicted->Increment(static_cast<double>(predicted));
  tasks_[task].feedback->Increment();
  if (happened) tasks_[task].observed->Increment();
}

void Metrics::AddGauge(const std::string& name, const std::string& help, Reading reading) {
  AddReading(name, help, prometheus::MetricType::Gauge, std::move(reading));
}

void Metrics::AddCounter(const std::string& name, const std::string& help, Reading reading) {
  GRAB_CHECK(name.ends_with("_total"));
  AddReading(name, help, prometheus::MetricType::Counter, std::move(reading));
}

void Metrics::AddReading(const std::string& name, const std::string& help,
                         prometheus::MetricType type, Reading reading) {
  auto family = absl::c_find_if(readings_, [&](const Readings& r) { return r.name == name; });
  if (family == readings_.end()) {
    family = readings_.insert(readings_.end(), {name, help, type, {}});
  }
  family->of_labels.push_back(std::move(reading));
}

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  for (const Readings& readings : readings_) {
    prometheus::MetricFamily& family = families.emplace_back();
    family.name = readings.name;
    family.help = readings.help;
    family.type = readings.type;
    for (const Reading& reading : readings.of_labels) {
      prometheus::ClientMetric& metric = family.metric.emplace_back();
      for (const auto& [label, value] : reading.labels) metric.label.push_back({label, value});
      metric.counter.value = metric.gauge.value = reading.value();
    }
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace grab
