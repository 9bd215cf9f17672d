// Events from a Kafka topic. Offsets are stored with the events in one write, so that a restart
// neither loses nor repeats one; Kafka's own committed offsets are not used.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "ranking/ranker.h"
#include "server/server_log.h"
#include "state/user_store.h"
#include "wire/wire_reader.h"

namespace RdKafka {
class KafkaConsumer;
class Message;
}  // namespace RdKafka

namespace grab {

struct KafkaOptions {
  std::string brokers;  // HOST:PORT,...
  std::string topic;
  size_t batch_events_max = 4096;  // of one write
  double batch_wait_s = 0.05;
  // Settings of librdkafka beside these: security.protocol and such.
  std::map<std::string, std::string> more;
};

struct KafkaStats {
  uint64_t stored = 0, duplicates = 0, too_old = 0;
  uint64_t refused = 0;  // messages that are no event or can never be stored, each logged
  uint64_t writes_failed = 0;
  std::map<int32_t, int64_t> next;  // offset, by partition
};

// A message holds one grab.v1.Event: JSON if it begins with '{', else protobuf. All partitions are
// read, so one server reads a topic.
class KafkaSource {
 public:
  // Told of every write, by the reading thread.
  using OnWritten = std::function<void(const WireEvents&, absl::Span<const AppendOutcome>)>;

  // Unavailable: the topic's partitions are not to be had within 10 s. All references must outlive
  // it.
  static StatusOr<std::unique_ptr<KafkaSource>> Start(const KafkaOptions& options, UserStore& store,
                                                      const WireReader& wire, Ranker& ranker,
                                                      ServerLog& log, OnWritten on_written);
  ~KafkaSource();
  KafkaSource(const KafkaSource&) = delete;
  KafkaSource& operator=(const KafkaSource&) = delete;

  KafkaStats Stats() const;

 private:
  struct Parts {
    UserStore& store;
    const WireReader& wire;
    Ranker& ranker;
    ServerLog& log;
    OnWritten on_written;
  };
  struct Place {
    int32_t partition = 0;
    int64_t offset = 0;
  };
  // What one write takes.
  struct Batch {
    WireEvents events;
    std::vector<Place> places;  // of the events
    SourceOffsets offsets;
    uint64_t refused = 0;
    size_t messages = 0;
  };
  KafkaSource(const KafkaOptions& options, Parts parts);
  Status Assign();
  void Loop();
  Batch Empty() const;
  Batch Take();
  void Add(const RdKafka::Message& message, Batch& batch);
  void Write(const Batch& batch);
  Status Store(const Batch& batch);
  void LogRefused(Place place, const Status& why);

  const KafkaOptions options_;
  const Parts parts_;
  const std::string source_;  // its name in the store
  std::unique_ptr<RdKafka::KafkaConsumer> consumer_;
  mutable std::mutex mutex_;
  KafkaStats stats_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace grab
