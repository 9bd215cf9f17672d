// Events from Kafka (librdkafka's mock cluster): all of them once, over restarts, with messages
// that are no events, or can never be stored, counted and passed over.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <thread>

#include "base/clock.h"
#include "base/hash.h"
#include "server/kafka_source.h"
#include "support/base_temp_dir.h"
#include "support/colliding_ids.h"
#include "support/random_world.h"
#include "wire/wire_writer.h"

namespace grab {
namespace {

constexpr char kTopic[] = "events";
constexpr int kPartitions = 3;

// A cluster of one broker in this process, and a producer.
class MockKafka {
 public:
  MockKafka() {
    char error[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", error, sizeof(error));
    producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    cluster_ = rd_kafka_handle_mock_cluster(producer_);
    EXPECT_EQ(rd_kafka_mock_topic_create(cluster_, kTopic, kPartitions, 1),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  ~MockKafka() { rd_kafka_destroy(producer_); }
  MockKafka(const MockKafka&) = delete;
  MockKafka& operator=(const MockKafka&) = delete;

  std::string brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  void Send(int partition, const std::string& bytes) {
    const rd_kafka_resp_err_t sent = rd_kafka_producev(
        producer_, RD_KAFKA_V_TOPIC(kTopic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE(const_cast<char*>(bytes.data()), bytes.size()), RD_KAFKA_V_END);
    ASSERT_EQ(sent, RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void Flush() { ASSERT_EQ(rd_kafka_flush(producer_, 20'000), RD_KAFKA_RESP_ERR_NO_ERROR); }

 private:
  rd_kafka_t* producer_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

class KafkaTest : public ::testing::Test {
 protected:
  KafkaTest() : schema_(*Schema::FromConfig(testing::MakeConfig())) {}

  void Open() {
    source_.reset();
    ranker_.reset();
    catalogue_.reset();
    store_.reset();
    store_ = *UserStore::Open({.dir = dir_.File("state")}, schema_);
    catalogue_ = *Catalogue::Load(*store_, 1 << 20);
    ranker_ = *Ranker::Create({}, *store_);
    wire_ = std::make_unique<WireReader>(*WireReader::Create(schema_, *catalogue_, {}, "", ""));
  }
  Status Start(const std::string& brokers) {
    KafkaOptions options;
    options.brokers = brokers;
    options.topic = kTopic;
    options.batch_events_max = 50;
    auto source = KafkaSource::Start(options, *store_, *wire_, *ranker_, log_, on_written_);
    if (source.ok()) source_ = *std::move(source);
    return source.status();
  }
  // Until the offsets add up.
  bool WaitFor(int64_t messages) {
    const Stopwatch watch;
    while (watch.Seconds() < 30) {
      int64_t read = 0;
      for (const auto& [partition, next] : source_->Stats().next) read += next;
      if (read == messages) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  TempDir dir_;
  Schema schema_;
  uint64_t written_ = 0;
  KafkaSource::OnWritten on_written_ = [this](const WireEvents& events,
                                              absl::Span<const AppendOutcome> outcomes) {
    EXPECT_EQ(events.size(), outcomes.size());
    written_ += events.size();
  };
  std::vector<std::string> logged_;  // by the reading thread
  ServerLog log_{[this](absl::string_view line) { logged_.emplace_back(line); }, 1};
  std::unique_ptr<UserStore> store_;
  std::unique_ptr<Catalogue> catalogue_;
  std::unique_ptr<Ranker> ranker_;
  std::unique_ptr<WireReader> wire_;
  std::unique_ptr<KafkaSource> source_;
};

TEST_F(KafkaTest, StoresEveryEventOnceOverRestarts) {
  MockKafka kafka;
  const UserBlock block = testing::MakeBlock(schema_, 4, 8, 120);
  int64_t sent = 0;
  uint64_t refused = 0;
  for (int round = 0; round < 4; ++round) {
    SCOPED_TRACE(round);
    Open();
    ASSERT_TRUE(Start(kafka.brokers()).ok());
    for (uint32_t user = 0; user < block.users(); ++user) {
      const uint32_t begin = block.user_offsets[user], size = block.user_offsets[user + 1] - begin;
      // A quarter of each user's events per round.
      for (uint32_t i = size * static_cast<uint32_t>(round) / 4;
           i < size * static_cast<uint32_t>(round + 1) / 4; ++i) {
        v1::Event event;
        WriteEvent(schema_, block.events, begin + i, block.user_id[user], event);
        kafka.Send(static_cast<int>(user % kPartitions), event.SerializeAsString());
        ++sent;
      }
    }
    for (const char* nonsense : {"{\"user_id\": 5", "\x0a\xff", "{}"}) {
      kafka.Send(round % kPartitions, nonsense);
      ++sent;
      ++refused;
    }
    kafka.Flush();
    // Killed in the midst of it in the second round: the next one goes on from what is stored.
    if (round == 1) continue;
    ASSERT_TRUE(WaitFor(sent));
  }
  EXPECT_EQ(source_->Stats().duplicates, 0u);
  EXPECT_LE(source_->Stats().refused, refused);
  for (uint32_t user = 0; user < block.users(); ++user) {
    const uint32_t begin = block.user_offsets[user], size = block.user_offsets[user + 1] - begin;
    UserEvents events;
    events.columns = MakeColumns(schema_);
    ASSERT_TRUE(store_->Read(HashId(block.user_id[user]), std::nullopt, UINT64_MAX, events).ok());
    ASSERT_EQ(events.size(), size);
    for (uint32_t i = 0; i < size; ++i) {
      EXPECT_EQ(events.columns.event_id[i], block.events.event_id[begin + i]);
    }
  }
}

TEST_F(KafkaTest, ReadsJson) {
  MockKafka kafka;
  kafka.Send(0, R"({"user_id": "u", "event_id": "e", "known_time_ms": "7"})");
  kafka.Flush();
  Open();
  ASSERT_TRUE(Start(kafka.brokers()).ok());
  ASSERT_TRUE(WaitFor(1));
  EXPECT_EQ(written_, 1u);
  EXPECT_EQ((*store_->Find(HashId("u")))->newest_known_ms, 7);
}

// The store refuses a user id whose hash another has. The events around it are stored, in one write
// or several, and a restart does not come back to it.
TEST_F(KafkaTest, PassesOverWhatCanNeverBeStored) {
  MockKafka kafka;
  const auto [known, refused] = testing::CollidingIds();
  const std::vector<std::string> users = {known, "before", refused, "after", known};
  for (size_t i = 0; i < users.size(); ++i) {
    v1::Event event;
    event.set_user_id(users[i]);
    event.set_event_id(absl::StrCat("e", i));
    event.set_known_time_ms(static_cast<int64_t>(i));
    kafka.Send(0, event.SerializeAsString());
  }
  kafka.Flush();
  Open();
  ASSERT_TRUE(Start(kafka.brokers()).ok());
  ASSERT_TRUE(WaitFor(5));
  const KafkaStats stats = source_->Stats();
  EXPECT_EQ(stats.stored, 4u);
  EXPECT_EQ(stats.refused, 1u);
  EXPECT_EQ(stats.writes_failed, 0u);
  EXPECT_EQ(written_, 4u);
  EXPECT_EQ((*store_->Find(known))->events, 2u);
  EXPECT_EQ((*store_->Find("after"))->events, 1u);
  EXPECT_FALSE(store_->Find(refused)->has_value());
  ASSERT_EQ(logged_.size(), 1u);
  EXPECT_NE(logged_[0].find("\"kafka_refused\""), std::string::npos) << logged_[0];
  EXPECT_NE(logged_[0].find("\"offset\":2"), std::string::npos) << logged_[0];
  EXPECT_EQ(logged_[0].find("xxx"), std::string::npos) << logged_[0];  // of either id

  Open();
  ASSERT_TRUE(Start(kafka.brokers()).ok());
  EXPECT_EQ(source_->Stats().next.at(0), 5);
}

TEST_F(KafkaTest, SaysWhatIsMissing) {
  Open();
  KafkaOptions options;
  options.brokers = "127.0.0.1:1";
  options.topic = kTopic;
  options.more = {{"no.such.setting", "1"}};
  EXPECT_TRUE(absl::IsInvalidArgument(
      KafkaSource::Start(options, *store_, *wire_, *ranker_, log_, on_written_).status()));
}

}  // namespace
}  // namespace grab
