// The calls of grab.proto, whatever carried them: checked, done, counted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "proto/grab.pb.h"
#include "ranking/ranker.h"
#include "server/metrics.h"
#include "server/observe_writer.h"
#include "server/recent_scores.h"
#include "server/server_log.h"
#include "state/catalogue.h"
#include "state/user_store.h"
#include "wire/wire_reader.h"

namespace grab {

struct ServiceOptions {
  WireLimits limits;
  std::string item_field, user_field;  // wire/wire_reader.h
  double arm_b_fraction = 0.0;         // of users that arm b answers
  ObserveWriterOptions observe;
  size_t recent_scores = 1 << 20;  // predictions kept for the live PCOC; 0: none
  double slow_s = 0.1;             // ranks that take longer are logged
};

// What a transport knows of a call.
struct CallContext {
  SteadyTime deadline = SteadyTime::max();
  std::function<bool()> cancelled;  // may be empty; valid until the call is done
};

class Service {
 public:
  // Called once, from any thread. The response is whole only after an OK.
  using Done = std::function<void(Status)>;

  // All references must outlive it.
  static StatusOr<std::unique_ptr<Service>> Create(const ServiceOptions& options, UserStore& store,
                                                   Catalogue& catalogue, Ranker& ranker,
                                                   Metrics& metrics, ServerLog& log);
  // Ends what was begun; the ranker must have answered all by then.
  ~Service();

  // Requests and responses must live until `done`. Errors: grab.proto.
  void Rank(const v1::RankRequest& request, v1::RankResponse& response, CallContext call,
            Done done);
  void Observe(const v1::ObserveRequest& request, v1::ObserveResponse& response, CallContext call,
               Done done);
  void GetUser(const v1::GetUserRequest& request, v1::GetUserResponse& response, CallContext call,
               Done done);
  void DeleteUser(const v1::DeleteUserRequest& request, v1::DeleteUserResponse& response,
                  CallContext call, Done done);
  void PutItems(const v1::PutItemsRequest& request, v1::PutItemsResponse& response,
                CallContext call, Done done);
  void RemoveItems(const v1::RemoveItemsRequest& request, v1::RemoveItemsResponse& response,
                   CallContext call, Done done);
  void GetStatus(const v1::StatusRequest& request, v1::StatusResponse& response, CallContext call,
                 Done done);

  void Inspect(const v1::InspectRequest& request, v1::InspectResponse& response, CallContext call,
               Done done);

  const WireReader& wire() const { return wire_; }
  // Counts events that another source has written, and compares their labels with what was
  // predicted.
  void CountWritten(const WireEvents& events, absl::Span<const AppendOutcome> outcomes);

  // What was refused of an arm's releases, for GetStatus; empty: nothing.
  void SetRefused(size_t arm, std::string reason);

 private:
  struct Parts {
    UserStore& store;
    Catalogue& catalogue;
    Ranker& ranker;
    Metrics& metrics;
    ServerLog& log;
  };
  Service(const ServiceOptions& options, const Parts& parts, WireReader wire);

  // `done` that counts the call, too.
  Done Counted(const char* method, Done done);
  size_t ArmOf(uint64_t user_key) const;
  void FinishRank(const v1::RankRequest& request, int64_t time_ms, double total_s,
                  const RankResult& result, v1::RankResponse& response);
  void AddFeedback(const WireEvents& events, absl::Span<const AppendOutcome> outcomes);
  Status ReadUser(const v1::GetUserRequest& request, v1::GetUserResponse& response) const;
  Status Erase(const v1::DeleteUserRequest& request, v1::DeleteUserResponse& response);
  Status InspectUser(const v1::InspectRequest& request, v1::InspectResponse& response) const;
  Status Put(const v1::PutItemsRequest& request, v1::PutItemsResponse& response);

  const ServiceOptions options_;
  const Parts parts_;
  const WireReader wire_;
  std::unique_ptr<RecentScores> recent_;  // null: none are kept
  const SteadyTime started_;
  mutable std::mutex mutex_;
  std::array<std::string, kArms> refused_;
  std::unique_ptr<ObserveWriter> writer_;
};

const char* ArmName(size_t arm);  // "a", "b"

}  // namespace grab
