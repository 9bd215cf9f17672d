// What the server counts, for Prometheus. No user id is ever a label.
#pragma once

#include <prometheus/registry.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "ranking/ranker.h"
#include "state/user_store.h"

namespace prometheus {
class Counter;
class Histogram;
}  // namespace prometheus

namespace grab {

// Parts of a call's time. kTotal is of a whole Rank, kCommit of the durable write of an Observe.
enum class Stage : uint8_t { kDecode, kQueue, kHistory, kScore, kTotal, kCommit };
inline constexpr size_t kStages = 6;

class Metrics {
 public:
  // `tasks` name the model's outputs.
  explicit Metrics(const std::vector<std::string>& tasks);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void CountCall(const char* method, absl::StatusCode code);
  void AddSeconds(Stage stage, double seconds);
  void CountEvents(absl::Span<const AppendOutcome> outcomes);
  void AddScores(absl::Span<const float> probabilities);  // [n, tasks]
  // A prediction whose label became known.
  void AddFeedback(size_t task, float predicted, bool happened);

  // A value that is read when somebody asks, and need not be counted here. Before the first Text.
  // A name that was added before is the same family with other labels.
  struct Reading {
    prometheus::Labels labels;
    std::function<double()> value;
  };
  void AddGauge(const std::string& name, const std::string& help, Reading reading);
  void AddCounter(const std::string& name, const std::string& help, Reading reading);

  // All of them in the text format of Prometheus.
  std::string Text() const;

 private:
  struct TaskMetrics {
    prometheus::Histogram* scores = nullptr;
    prometheus::Counter* predicted = nullptr;
    prometheus::Counter* observed = nullptr;
    prometheus::Counter* feedback = nullptr;
  };
  struct Readings {
    std::string name, help;
    prometheus::MetricType type;
    std::vector<Reading> of_labels;
  };

  void AddReading(const std::string& name, const std::string& help, prometheus::MetricType type,
                  Reading reading);

  std::unique_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>* calls_ = nullptr;
  std::array<prometheus::Histogram*, kStages> stages_{};
  std::array<prometheus::Counter*, 3> events_{};  // by AppendOutcome
  std::vector<TaskMetrics> tasks_;
  std::vector<Readings> readings_;
};

}  // namespace grab
