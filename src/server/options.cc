#include "server/options.h"

#include <CLI/CLI.hpp>

#include "base/file.h"

namespace grab {
namespace {

constexpr uint64_t kTokensBytesMax = 1 << 20;
constexpr uint64_t kPemBytesMax = 1 << 20;

template <class T>
CLI::Option* Option(CLI::App& app, const char* name, T& value, const char* help,
                    const char* group) {
  return app.add_option(name, value, help)->capture_default_str()->group(group);
}

void AddModels(CLI::App& app, ServerOptions& options) {
  constexpr char kGroup[] = "Models";
  app.add_option("--model", options.model_dir,
                 "Folder of releases that is watched (grab train --follow, grab export), or one "
                 "exported model")
      ->required()
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--model-b", options.model_b_dir, "The same for arm b of an A/B split")
      ->type_name("DIR")
      ->group(kGroup);
  Option(app, "--arm-b-fraction", options.service.arm_b_fraction,
         "Share of users, by a hash of their id, that arm b answers", kGroup)
      ->check(CLI::Range(0.0, 1.0));
  Option(app, "--poll-s", options.poll_s, "Seconds between looks for newer releases", kGroup)
      ->check(CLI::Range(0.01, 86400.0));
  app.add_option("--canary", options.canary_dir,
                 "Prepared shards whose test targets a model must score as expected before it "
                 "serves (docs/serving.md)")
      ->type_name("DIR")
      ->group(kGroup);
}

void AddState(CLI::App& app, ServeOptions& options) {
  constexpr char kGroup[] = "State";
  UserStoreOptions& store = options.server.store;
  app.add_option("--state", store.dir,
                 "Folder of the users' events and the catalogue; made if absent")
      ->required()
      ->type_name("DIR")
      ->group(kGroup);
  Option(app, "--events-max", store.events_max, "Events kept per user, the newest", kGroup)
      ->check(CLI::Range(1, 1 << 24));
  Option(app, "--age-max-s", store.age_max_s,
         "Age behind a user's newest event past which its events go; 0: none", kGroup)
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--no-sync", options.no_sync,
               "Acknowledge events before they are on disk: a power cut may lose the last ones")
      ->group(kGroup);
  Option(app, "--catalogue-bytes-max", options.server.catalogue_bytes_max,
         "Bound of the items' features in memory", kGroup);
  Option(app, "--item-field", options.server.service.item_field,
         "id field of the model that a candidate's item_id fills where nothing else does", kGroup);
  Option(app, "--user-field", options.server.service.user_field,
         "id field of the model that the user_id fills where nothing else does", kGroup);
}

void AddKafka(CLI::App& app, ServeOptions& options) {
  constexpr char kGroup[] = "Kafka";
  KafkaOptions& kafka = options.server.kafka;
  app.add_option("--kafka-brokers", kafka.brokers, "HOST:PORT,... of a cluster to read events from")
      ->group(kGroup);
  app.add_option("--kafka-topic", kafka.topic, "Topic of grab.v1.Event messages, protobuf or JSON")
      ->group(kGroup);
  app.add_option("--kafka-set", options.kafka_settings,
                 "Setting of librdkafka, as security.protocol=ssl; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME=VALUE")
      ->group(kGroup);
}

void AddRanking(CLI::App& app, ServeOptions& options) {
  constexpr char kGroup[] = "Ranking";
  RankerOptions& ranker = options.server.ranker;
  Option(app, "--workers", ranker.workers, "Threads that score; users are dealt out to them",
         kGroup)
      ->check(CLI::Range(1, 1024));
  Option(app, "--cache-mb", options.cache_mb, "MiB of cached keys and values, over all workers",
         kGroup)
      ->check(CLI::Range(1.0, 1e7));
  Option(app, "--batch-candidates-max", ranker.batch_candidates_max,
         "Candidates of a micro-batch across requests", kGroup)
      ->check(CLI::Range(1, 1 << 20));
  Option(app, "--batch-wait-s", ranker.batch_wait_s, "How long a request waits for others to join",
         kGroup)
      ->check(CLI::Range(0.0, 1.0));
  Option(app, "--queue-wait-max-s", ranker.queue_wait_max_s,
         "Estimated wait past which a request is refused at once", kGroup)
      ->check(CLI::Range(1e-6, 60.0));
  Option(app, "--degraded-from", ranker.degraded_from,
         "Share of that wait from which users that are not cached are read short", kGroup)
      ->check(CLI::Range(0.0, 1.0));
  Option(app, "--degraded-events", ranker.degraded_events, "Events such a user is read for",
         kGroup);
  Option(app, "--warm-users", ranker.warm_users,
         "Users per worker that a new model reads before it takes over", kGroup);
}

void AddLimits(CLI::App& app, ServerOptions& options) {
  constexpr char kGroup[] = "Limits";
  WireLimits& limits = options.service.limits;
  Option(app, "--candidates-max", limits.candidates_max, "Candidates of a request", kGroup)
      ->check(CLI::Range(1, 1 << 20));
  Option(app, "--request-events-max", limits.events_max, "Events of an Observe", kGroup)
      ->check(CLI::Range(1, 1 << 20));
  Option(app, "--message-bytes-max", options.message_bytes_max, "Bytes of a request", kGroup)
      ->check(CLI::Range(1 << 10, 1 << 30));
  Option(app, "--time-ahead-s-max", limits.time_ahead_s_max,
         "How far ahead of this machine's clock a time may lie", kGroup)
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}));
  Option(app, "--connections-max", options.connections_max, "HTTP connections per port", kGroup)
      ->check(CLI::Range(1, 1 << 20));
  Option(app, "--idle-timeout-s", options.idle_timeout_s, "After which an HTTP client is cut off",
         kGroup)
      ->check(CLI::Range(1, 3600));
}

void AddNetwork(CLI::App& app, ServeOptions& options) {
  constexpr char kGroup[] = "Network";
  ServerOptions& server = options.server;
  Option(app, "--address", server.address, "Numeric IPv4 or IPv6 address to listen on", kGroup);
  Option(app, "--grpc-port", server.grpc_port, "Rank and Observe; 0: any, -1: none", kGroup);
  Option(app, "--http-port", server.http_port, "The same as JSON", kGroup);
  Option(app, "--admin-grpc-port", server.admin_grpc_port, "Users, items, status", kGroup);
  Option(app, "--admin-http-port", server.admin_http_port, "The same as JSON, metrics, the page",
         kGroup);
  app.add_option("--tokens", options.tokens_file,
                 "File of lines TOKEN RIGHT[,RIGHT]... of rank, observe, admin")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_flag("--allow-anonymous", server.allow_anonymous,
               "Serve an address beyond this machine without tokens")
      ->group(kGroup);
  app.add_option("--tls-certificate", options.certificate_file, "PEM; everything then speaks TLS")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option("--tls-key", options.key_file, "PEM")->type_name("FILE")->group(kGroup);
  app.add_option("--tls-client-ca", options.client_ca_file,
                 "PEM; clients must present a certificate it signed")
      ->type_name("FILE")
      ->group(kGroup);
}

Status ReadPem(const std::string& file, std::string& out) {
  if (file.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(out, ReadFile(file, kPemBytesMax));
  if (!out.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(file, ": is empty"));
}

}  // namespace

void ServeOptions::Add(CLI::App& app) {
  AddModels(app, server);
  AddState(app, *this);
  AddKafka(app, *this);
  AddRanking(app, *this);
  AddLimits(app, server);
  AddNetwork(app, *this);
  app.add_flag("--plain-users", plain_users, "User ids in logs as they are, not hashed")
      ->group("Logs");
  Option(app, "--slow-s", server.service.slow_s, "Ranks that take longer are logged", "Logs");
}

StatusOr<ServerOptions> ServeOptions::Resolve() const {
  ServerOptions options = server;
  if (!tokens_file.empty()) {
    GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(tokens_file, kTokensBytesMax));
    GRAB_ASSIGN_OR_RETURN(options.access, Access::FromText(text, tokens_file));
  }
  GRAB_RETURN_IF_ERROR(ReadPem(certificate_file, options.tls.certificate));
  GRAB_RETURN_IF_ERROR(ReadPem(key_file, options.tls.key));
  GRAB_RETURN_IF_ERROR(ReadPem(client_ca_file, options.tls.client_ca));
  if (options.tls.certificate.empty() != options.tls.key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key go together");
  }
  if (options.tls.certificate.empty() && !options.tls.client_ca.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-certificate");
  }
  if (options.kafka.brokers.empty() != options.kafka.topic.empty()) {
    return absl::InvalidArgumentError("--kafka-brokers and --kafka-topic go together");
  }
  for (const std::string& setting : kafka_settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--kafka-set: expected NAME=VALUE, got '", setting, "'"));
    }
    options.kafka.more[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  options.store.sync = !no_sync;
  options.ranker.cache_bytes = static_cast<size_t>(cache_mb * 1024.0 * 1024.0);
  return options;
}

}  // namespace grab
