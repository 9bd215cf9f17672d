#include "server/kafka_source.h"

#include <google/protobuf/util/json_util.h>
#include <librdkafka/rdkafkacpp.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/hash.h"
#include "base/unix_time.h"

namespace grab {
namespace {

constexpr int kMetadataMs = 10'000;
constexpr int kPollMs = 20;
constexpr auto kRetryAfter = std::chrono::milliseconds(500);

Status KafkaError(const std::string& what, RdKafka::ErrorCode code) {
  return absl::UnavailableError(absl::StrCat("kafka: ", what, ": ", RdKafka::err2str(code)));
}

StatusOr<std::unique_ptr<RdKafka::KafkaConsumer>> MakeConsumer(const KafkaOptions& options) {
  const std::unique_ptr<RdKafka::Conf> conf(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
  std::map<std::string, std::string> settings = {{"bootstrap.servers", options.brokers},
                                                 {"group.id", "grab"},
                                                 {"enable.auto.commit", "false"},
                                                 {"enable.auto.offset.store", "false"},
                                                 {"auto.offset.reset", "earliest"}};
  for (const auto& [name, value] : options.more) settings[name] = value;
  std::string error;
  for (const auto& [name, value] : settings) {
    if (conf->set(name, value, error) != RdKafka::Conf::CONF_OK) {
      return absl::InvalidArgumentError(absl::StrCat("kafka: ", name, ": ", error));
    }
  }
  std::unique_ptr<RdKafka::KafkaConsumer> consumer(
      RdKafka::KafkaConsumer::create(conf.get(), error));
  if (consumer == nullptr) return absl::InvalidArgumentError("kafka: " + error);
  return consumer;
}

Status ReadMessage(const RdKafka::Message& message, v1::Event& event) {
  const absl::string_view bytes(static_cast<const char*>(message.payload()), message.len());
  if (!bytes.empty() && bytes[0] == '{') {
    const auto status = google::protobuf::util::JsonStringToMessage(std::string(bytes), &event);
    if (status.ok()) return absl::OkStatus();
    return absl::InvalidArgumentError(status.message().ToString());
  }
  if (event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return absl::InvalidArgumentError("expected a grab.v1.Event, got other bytes");
}

void AppendRow(const Schema& schema, const WireEvents& from, size_t row, WireEvents& to) {
  AppendEvent(schema, from.columns, row, to.columns);
  to.user_id.push_back(from.user_id[row]);
  to.item_id.push_back(from.item_id[row]);
}

}  // namespace

KafkaSource::KafkaSource(const KafkaOptions& options, Parts parts)
    : options_(options), parts_(std::move(parts)), source_("kafka:" + options.topic) {}

StatusOr<std::unique_ptr<KafkaSource>> KafkaSource::Start(const KafkaOptions& options,
                                                          UserStore& store, const WireReader& wire,
                                                          Ranker& ranker, ServerLog& log,
                                                          OnWritten on_written) {
  std::unique_ptr<KafkaSource> source(
      new KafkaSource(options, {store, wire, ranker, log, std::move(on_written)}));
  GRAB_ASSIGN_OR_RETURN(source->consumer_, MakeConsumer(options));
  GRAB_RETURN_IF_ERROR(source->Assign());
  source->thread_ = std::thread([raw = source.get()] { raw->Loop(); });
  return source;
}

KafkaSource::~KafkaSource() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  if (consumer_ != nullptr) consumer_->close();
}

KafkaStats KafkaSource::Stats() const {
  const std::scoped_lock lock(mutex_);
  return stats_;
}

Status KafkaSource::Assign() {
  std::string error;
  const std::unique_ptr<RdKafka::Topic> topic(
      RdKafka::Topic::create(consumer_.get(), options_.topic, nullptr, error));
  if (topic == nullptr) return absl::InvalidArgumentError("kafka: " + error);
  RdKafka::Metadata* raw = nullptr;
  const RdKafka::ErrorCode asked = consumer_->metadata(false, topic.get(), &raw, kMetadataMs);
  const std::unique_ptr<RdKafka::Metadata> metadata(raw);
  if (asked != RdKafka::ERR_NO_ERROR) return KafkaError(options_.brokers, asked);
  GRAB_ASSIGN_OR_RETURN(stats_.next, parts_.store.Offsets(source_));
  std::vector<RdKafka::TopicPartition*> partitions;
  for (const RdKafka::TopicMetadata* found : *metadata->topics()) {
    if (found->topic() != options_.topic) continue;
    if (found->err() != RdKafka::ERR_NO_ERROR) return KafkaError(options_.topic, found->err());
    for (const RdKafka::PartitionMetadata* partition : *found->partitions()) {
      const auto next = stats_.next.find(partition->id());
      const int64_t offset =
          next == stats_.next.end() ? RdKafka::Topic::OFFSET_BEGINNING : next->second;
      partitions.push_back(
          RdKafka::TopicPartition::create(options_.topic, partition->id(), offset));
    }
  }
  const RdKafka::ErrorCode assigned =
      partitions.empty() ? RdKafka::ERR_UNKNOWN_TOPIC_OR_PART : consumer_->assign(partitions);
  RdKafka::TopicPartition::destroy(partitions);
  if (assigned != RdKafka::ERR_NO_ERROR) return KafkaError(options_.topic, assigned);
  return absl::OkStatus();
}

KafkaSource::Batch KafkaSource::Empty() const {
  Batch batch;
  batch.events.columns = MakeColumns(parts_.store.schema());
  batch.offsets.source = source_;
  return batch;
}

void KafkaSource::LogRefused(Place place, const Status& why) {
  parts_.log.Write("kafka_refused", {{"partition", place.partition},
                                     {"offset", place.offset},
                                     {"error", std::string(why.message())}});
}

void KafkaSource::Add(const RdKafka::Message& message, Batch& batch) {
  const Place place = {message.partition(), message.offset()};
  batch.offsets.next[place.partition] = place.offset + 1;
  ++batch.messages;
  v1::ObserveRequest request;
  WireEvents events;
  Status status = ReadMessage(message, *request.add_events());
  if (status.ok()) status = parts_.wire.ReadEvents(request, UnixMs(), events);
  if (!status.ok()) {
    ++batch.refused;
    return LogRefused(place, status);
  }
  AppendRow(parts_.store.schema(), events, 0, batch.events);
  batch.places.push_back(place);
}

KafkaSource::Batch KafkaSource::Take() {
  Batch batch = Empty();
  Stopwatch since_first;
  while (!stop_ && batch.messages < options_.batch_events_max) {
    const std::unique_ptr<RdKafka::Message> message(consumer_->consume(kPollMs));
    if (batch.messages == 0) since_first.Restart();
    if (message->err() == RdKafka::ERR_NO_ERROR) {
      Add(*message, batch);
    } else if (batch.messages > 0) {
      break;  // nothing more for now, or a broker that is away: librdkafka comes back by itself
    }
    if (batch.messages > 0 && since_first.Seconds() > options_.batch_wait_s) break;
  }
  return batch;
}

// An event that can never be stored must not hold up the others: each goes alone then, and the
// offsets last. A kill in between reads them all again, as duplicates.
void KafkaSource::Write(const Batch& batch) {
  if (!absl::IsInvalidArgument(Store(batch))) return;
  Batch rest = Empty();
  rest.offsets = batch.offsets;
  rest.refused = batch.refused;
  for (size_t row = 0; row < batch.events.size(); ++row) {
    Batch one = Empty();
    AppendRow(parts_.store.schema(), batch.events, row, one.events);
    const Status status = Store(one);
    if (absl::IsInvalidArgument(status)) {
      ++rest.refused;
      LogRefused(batch.places[row], status);
    } else if (!status.ok()) {
      return;
    }
  }
  Store(rest).IgnoreError();  // fails when stopping only
}

// Tries until it holds. InvalidArgument: one of the events can never be stored, and none is. Any
// other error: stopping, and the next start reads the batch again.
Status KafkaSource::Store(const Batch& batch) {
  std::vector<NewEvent> events;
  for (size_t row = 0; row < batch.events.size(); ++row) events.push_back(batch.events.At(row));
  std::vector<AppendOutcome> outcomes(events.size());
  Status status = parts_.store.AppendAll(events, absl::MakeSpan(outcomes), &batch.offsets);
  while (!status.ok() && !absl::IsInvalidArgument(status) && !stop_) {
    parts_.log.Write("kafka_write_failed", {{"error", status.ToString()}});
    {
      const std::scoped_lock lock(mutex_);
      ++stats_.writes_failed;
    }
    std::this_thread::sleep_for(kRetryAfter);
    status = parts_.store.AppendAll(events, absl::MakeSpan(outcomes), &batch.offsets);
  }
  if (!status.ok()) return status;
  parts_.on_written(batch.events, outcomes);
  const std::scoped_lock lock(mutex_);
  for (size_t row = 0; row < outcomes.size(); ++row) {
    ++(outcomes[row] == AppendOutcome::kStored      ? stats_.stored
       : outcomes[row] == AppendOutcome::kDuplicate ? stats_.duplicates
                                                    : stats_.too_old);
    if (outcomes[row] == AppendOutcome::kStored) {
      parts_.ranker.Notify(HashId(batch.events.user_id[row]));
    }
  }
  stats_.refused += batch.refused;
  for (const auto& [partition, offset] : batch.offsets.next) stats_.next[partition] = offset;
  return status;
}

void KafkaSource::Loop() {
  while (!stop_) {
    const Batch batch = Take();
    if (batch.messages > 0) Write(batch);
  }
}

}  // namespace grab
