#include "server/service.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/unix_time.h"
#include "server/inspector.h"
#include "wire/wire_writer.h"

namespace grab {
namespace {

constexpr uint32_t kUserEventsDefault = 100;
constexpr uint32_t kUserEventsMax = 10000;
// An inspection computes the history anew, in f32, on the calling thread.
constexpr uint32_t kInspectEventsDefault = 64;
constexpr uint32_t kInspectEventsMax = 1024;
constexpr int kInspectCandidatesMax = 32;
// So that the arms are not the workers' parts of users.
constexpr uint64_t kArmSalt = 0x61726d73;

double SecondsSince(SteadyTime from) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

std::string NewTraceId() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return absl::StrFormat("%016x", random());
}

v1::Outcome OutcomeOf(AppendOutcome outcome) {
  switch (outcome) {
    case AppendOutcome::kStored:
      return v1::STORED;
    case AppendOutcome::kDuplicate:
      return v1::DUPLICATE;
    case AppendOutcome::kTooOld:
      return v1::TOO_OLD;
  }
  return v1::STORED;
}

}  // namespace

const char* ArmName(size_t arm) { return arm == 0 ? "a" : "b"; }

StatusOr<std::unique_ptr<Service>> Service::Create(const ServiceOptions& options, UserStore& store,
                                                   Catalogue& catalogue, Ranker& ranker,
                                                   Metrics& metrics, ServerLog& log) {
  GRAB_ASSIGN_OR_RETURN(WireReader wire,
                        WireReader::Create(store.schema(), catalogue, options.limits,
                                           options.item_field, options.user_field));
  return std::unique_ptr<Service>(
      new Service(options, {store, catalogue, ranker, metrics, log}, std::move(wire)));
}

Service::Service(const ServiceOptions& options, const Parts& parts, WireReader wire)
    : options_(options),
      parts_(parts),
      wire_(std::move(wire)),
      started_(std::chrono::steady_clock::now()),
      writer_(std::make_unique<ObserveWriter>(options.observe, parts.store, parts.ranker)) {
  if (options.recent_scores > 0) {
    recent_ =
        std::make_unique<RecentScores>(options.recent_scores, parts.store.schema().tasks.size());
  }
}

Service::~Service() = default;

Service::Done Service::Counted(const char* method, Done done) {
  return [this, method, done = std::move(done)](Status status) {
    parts_.metrics.CountCall(method, status.code());
    if (absl::IsInternal(status) || absl::IsDataLoss(status)) {
      parts_.log.Write("failed", {{"method", method}, {"error", status.ToString()}});
    }
    done(std::move(status));
  };
}

size_t Service::ArmOf(uint64_t user_key) const {
  if (options_.arm_b_fraction <= 0.0) return 0;
  const double place = static_cast<double>(HashCombine(user_key, kArmSalt) >> 11) * 0x1p-53;
  return place < options_.arm_b_fraction ? 1 : 0;
}

void Service::Rank(const v1::RankRequest& request, v1::RankResponse& response, CallContext call,
                   Done done) {
  const SteadyTime begun = std::chrono::steady_clock::now();
  done = Counted("Rank", std::move(done));
  RankJob job;
  job.user = HashId(request.user_id());
  // Before its candidates are read: refusing must cost little.
  Status status = parts_.ranker.CheckCapacity(
      job.user, static_cast<size_t>(request.candidates_size()), call.deadline);
  if (!status.ok()) return done(status);
  status = wire_.ReadCandidates(request, UnixMs(), job.candidates);
  parts_.metrics.AddSeconds(Stage::kDecode, SecondsSince(begun));
  if (!status.ok()) return done(status);
  job.arm = ArmOf(job.user);
  job.deadline = call.deadline;
  job.cancelled = std::move(call.cancelled);
  job.done = [this, &request, &response, begun, time_ms = job.candidates.request_time_ms[0],
              done = std::move(done)](const RankResult& result) {
    if (result.status.ok()) FinishRank(request, time_ms, SecondsSince(begun), result, response);
    done(result.status);
  };
  parts_.ranker.Submit(std::move(job));
}

void Service::FinishRank(const v1::RankRequest& request, int64_t time_ms, double total_s,
                         const RankResult& result, v1::RankResponse& response) {
  const ModelSpec& spec = result.model->spec();
  const size_t tasks = spec.tasks.size();
  const uint64_t user = HashId(request.user_id());
  for (const std::string& task : spec.tasks) response.add_tasks(task);
  for (int c = 0; c < request.candidates_size(); ++c) {
    const auto scores =
        absl::MakeConstSpan(result.probabilities).subspan(static_cast<size_t>(c) * tasks, tasks);
    v1::CandidateScore& out = *response.add_scores();
    out.mutable_probability()->Add(scores.begin(), scores.end());
    if (recent_ != nullptr && !request.candidates(c).item_id().empty()) {
      recent_->Add(RecentScores::KeyOf(user, request.candidates(c).item_id(), time_ms), scores);
    }
  }
  response.set_model_step(result.model->loaded.step);
  response.set_arm(ArmName(ArmOf(user)));
  response.set_sequence(result.history.sequence);
  response.set_degraded(result.history.degraded);
  response.set_events_read(static_cast<uint32_t>(result.history.events_read));
  response.set_trace_id(request.trace_id().empty() ? NewTraceId() : request.trace_id());
  Metrics& metrics = parts_.metrics;
  metrics.AddScores(result.probabilities);
  metrics.AddSeconds(Stage::kQueue, result.queued_s);
  metrics.AddSeconds(Stage::kHistory, result.history_s);
  metrics.AddSeconds(Stage::kScore, result.score_s);
  metrics.AddSeconds(Stage::kTotal, total_s);
  if (total_s > options_.slow_s) {
    parts_.log.Write("slow", {{"trace_id", response.trace_id()},
                              {"user", parts_.log.UserOf(request.user_id())},
                              {"candidates", request.candidates_size()},
                              {"total_s", total_s},
                              {"queue_s", result.queued_s},
                              {"history_s", result.history_s},
                              {"score_s", result.score_s}});
  }
}

// Labels of candidates that were ranked of late, found by user, item and request.
void Service::AddFeedback(const WireEvents& events, absl::Span<const AppendOutcome> outcomes) {
  if (recent_ == nullptr) return;
  const size_t tasks = parts_.store.schema().tasks.size();
  std::vector<float> probabilities(tasks);
  for (size_t row = 0; row < events.size(); ++row) {
    const uint32_t known = events.columns.labels_known[row];
    if (known == 0 || events.item_id[row].empty() || outcomes[row] != AppendOutcome::kStored) {
      continue;
    }
    const uint64_t key = RecentScores::KeyOf(HashId(events.user_id[row]), events.item_id[row],
                                             events.columns.request_time_ms[row]);
    if (!recent_->Find(key, absl::MakeSpan(probabilities))) continue;
    for (size_t task = 0; task < tasks; ++task) {
      if ((known >> task & 1) == 0) continue;
      parts_.metrics.AddFeedback(task, probabilities[task],
                                 (events.columns.labels[row] >> task & 1) != 0);
    }
  }
}

void Service::CountWritten(const WireEvents& events, absl::Span<const AppendOutcome> outcomes) {
  parts_.metrics.CountEvents(outcomes);
  AddFeedback(events, outcomes);
}

void Service::Observe(const v1::ObserveRequest& request, v1::ObserveResponse& response,
                      CallContext call, Done done) {
  done = Counted("Observe", std::move(done));
  const SteadyTime begun = std::chrono::steady_clock::now();
  if (begun > call.deadline) return done(absl::DeadlineExceededError("the deadline has passed"));
  WireEvents events;
  if (const Status status = wire_.ReadEvents(request, UnixMs(), events); !status.ok()) {
    return done(status);
  }
  writer_->Submit(std::move(events), [this, &response, begun, done = std::move(done)](
                                         const Status& status, const WireEvents& written,
                                         absl::Span<const AppendOutcome> outcomes) {
    if (status.ok()) {
      CountWritten(written, outcomes);
      for (const AppendOutcome outcome : outcomes) response.add_outcomes(OutcomeOf(outcome));
      parts_.metrics.AddSeconds(Stage::kCommit, SecondsSince(begun));
    }
    done(status);
  });
}

void Service::GetUser(const v1::GetUserRequest& request, v1::GetUserResponse& response, CallContext,
                      Done done) {
  Counted("GetUser", std::move(done))(ReadUser(request, response));
}

Status Service::ReadUser(const v1::GetUserRequest& request, v1::GetUserResponse& response) const {
  GRAB_RETURN_IF_ERROR(WireReader::CheckUser(request.user_id()));
  if (request.events_max() > kUserEventsMax) {
    return absl::InvalidArgumentError(absl::StrCat("events_max: expected at most ", kUserEventsMax,
                                                   ", got ", request.events_max()));
  }
  GRAB_ASSIGN_OR_RETURN(const std::optional<UserState> state, parts_.store.Find(request.user_id()));
  response.set_known(state.has_value());
  if (!state) return absl::OkStatus();
  response.set_events(state->events);
  response.set_sequence(state->sequence);
  response.set_newest_known_time_ms(state->newest_known_ms);
  response.set_trimmed_known_time_ms(state->trimmed_known_ms.value_or(0));
  UserEvents events;
  events.columns = MakeColumns(parts_.store.schema());
  const uint32_t events_max = request.events_max() == 0 ? kUserEventsDefault : request.events_max();
  GRAB_RETURN_IF_ERROR(
      parts_.store.Read(HashId(request.user_id()), std::nullopt, events_max, events));
  for (size_t row = events.size(); row-- > 0;) {
    WriteStoredEvent(parts_.store.schema(), events, row, *response.add_newest());
  }
  return absl::OkStatus();
}

void Service::DeleteUser(const v1::DeleteUserRequest& request, v1::DeleteUserResponse& response,
                         CallContext, Done done) {
  Counted("DeleteUser", std::move(done))(Erase(request, response));
}

Status Service::Erase(const v1::DeleteUserRequest& request, v1::DeleteUserResponse& response) {
  GRAB_RETURN_IF_ERROR(WireReader::CheckUser(request.user_id()));
  GRAB_ASSIGN_OR_RETURN(const std::optional<uint64_t> events,
                        parts_.store.Delete(request.user_id()));
  parts_.ranker.Forget(HashId(request.user_id()));
  response.set_known(events.has_value());
  response.set_events(events.value_or(0));
  parts_.log.Write("user_deleted",
                   {{"user", parts_.log.UserOf(request.user_id())}, {"events", response.events()}});
  return absl::OkStatus();
}

void Service::PutItems(const v1::PutItemsRequest& request, v1::PutItemsResponse& response,
                       CallContext, Done done) {
  Counted("PutItems", std::move(done))(Put(request, response));
}

Status Service::Put(const v1::PutItemsRequest& request, v1::PutItemsResponse& response) {
  std::vector<FieldColumn> fields;
  GRAB_RETURN_IF_ERROR(wire_.ReadItems(request, fields));
  std::vector<NewItem> items;
  for (int i = 0; i < request.items_size(); ++i) {
    items.push_back({request.items(i).item_id(), &fields, static_cast<size_t>(i)});
  }
  GRAB_RETURN_IF_ERROR(parts_.catalogue.Put(items));
  response.set_items(parts_.catalogue.items());
  return absl::OkStatus();
}

void Service::RemoveItems(const v1::RemoveItemsRequest& request, v1::RemoveItemsResponse& response,
                          CallContext, Done done) {
  const std::vector<std::string> items(request.item_ids().begin(), request.item_ids().end());
  const Status status = parts_.catalogue.Remove(items);
  response.set_items(parts_.catalogue.items());
  Counted("RemoveItems", std::move(done))(status);
}

void Service::Inspect(const v1::InspectRequest& request, v1::InspectResponse& response, CallContext,
                      Done done) {
  Counted("Inspect", std::move(done))(InspectUser(request, response));
}

Status Service::InspectUser(const v1::InspectRequest& request,
                            v1::InspectResponse& response) const {
  if (request.events_max() > kInspectEventsMax ||
      request.candidates_size() > kInspectCandidatesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at most ", kInspectEventsMax, " events_max and ", kInspectCandidatesMax,
        " candidates, got ", request.events_max(), " and ", request.candidates_size()));
  }
  EventColumns candidates;
  GRAB_RETURN_IF_ERROR(wire_.ReadCandidates(request, UnixMs(), candidates));
  const uint64_t user = HashId(request.user_id());
  const std::shared_ptr<const ServedModel> model = parts_.ranker.model(ArmOf(user));
  UserEvents events;
  events.columns = MakeColumns(parts_.store.schema());
  GRAB_RETURN_IF_ERROR(parts_.store.Read(
      user, std::nullopt, request.events_max() == 0 ? kInspectEventsDefault : request.events_max(),
      events));
  GRAB_ASSIGN_OR_RETURN(const Inspection inspection,
                        grab::Inspect(model->loaded.model, events.columns, candidates));
  for (size_t row = 0; row < events.size(); ++row) {
    WriteStoredEvent(parts_.store.schema(), events, row, *response.add_events());
  }
  const ModelSpec& spec = model->spec();
  const size_t tasks = spec.tasks.size();
  for (size_t c = 0; c < inspection.shares.size(); ++c) {
    v1::InspectedCandidate& out = *response.add_candidates();
    for (size_t t = 0; t < tasks; ++t) {
      out.add_probability(inspection.probabilities[c * tasks + t]);
    }
    for (const EventShare& share : inspection.shares[c]) {
      v1::EventAttention& attention = *out.add_attention();
      attention.set_event(share.event);
      attention.set_channel(spec.channels[share.channel].name);
      attention.set_share(share.share);
      attention.set_content(share.content);
      attention.set_position_bias(share.position);
      attention.set_time_bias(share.time);
      attention.set_action_bias(share.action);
    }
  }
  for (const std::string& task : spec.tasks) response.add_tasks(task);
  response.set_model_step(model->loaded.step);
  return absl::OkStatus();
}

void Service::SetRefused(size_t arm, std::string reason) {
  const std::scoped_lock lock(mutex_);
  refused_[arm] = std::move(reason);
}

void Service::GetStatus(const v1::StatusRequest&, v1::StatusResponse& response, CallContext,
                        Done done) {
  const RankerStats stats = parts_.ranker.Stats();
  for (size_t arm = 0; arm < kArms; ++arm) {
    const std::shared_ptr<const ServedModel> model = parts_.ranker.model(arm);
    if (model == nullptr) continue;
    v1::ModelStatus& out = *response.add_models();
    out.set_arm(ArmName(arm));
    out.set_step(model->loaded.step);
    out.set_dir(model->loaded.dir);
    out.set_precision(PrecisionName(model->loaded.precision));
    out.set_loaded_unix_s(model->loaded_unix_s);
    const std::scoped_lock lock(mutex_);
    out.set_refused(refused_[arm]);
  }
  response.set_cached_users(stats.cache.users);
  response.set_cache_bytes(stats.cache.bytes);
  response.set_cache_bytes_max(stats.cache.bytes_max);
  response.set_queued_candidates(stats.queued_candidates);
  response.set_items(parts_.catalogue.items());
  response.set_uptime_s(SecondsSince(started_));
  response.set_degraded(stats.degraded);
  const Schema& schema = parts_.store.schema();
  for (const std::string& task : schema.tasks) response.add_tasks(task);
  for (const FieldSchema& field : schema.fields) response.add_fields(field.name);
  for (const std::string& action : schema.actions) response.add_actions(action);
  Counted("Status", std::move(done))(absl::OkStatus());
}

}  // namespace grab
