// grab-serve. Exit codes: as grab's.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "base/threads.h"
#include "kernels/simd_target.h"
#include "server/options.h"

namespace grab {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

constexpr char kFooter[] =
    "Every option can stand in the file of --config, without its dashes:\n"
    "  model = \"runs/demo/model\"\n"
    "  state = \"/var/lib/grab/state\"\n"
    "  workers = 4\n\n"
    "Logs go to standard error, one JSON object per line. Once it serves, a line of the event\n"
    "'serving' names the ports. SIGTERM and SIGINT end it after what is under way.\n\n"
    "Example:\n"
    "  grab serve --model runs/demo/model --state /tmp/grab-state\n"
    "  curl -s localhost:7081/v1/rank -H 'content-type: application/json' \\\n"
    "    -d '{\"user_id\": \"7\", \"candidates\": [{\"item_id\": \"12\"}]}'";

int Report(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "grab-serve: error: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? kExitUsage : kExitFailed;
}

Status Serve(const ServeOptions& options, const sigset_t& signals) {
  GRAB_ASSIGN_OR_RETURN(const ServerOptions resolved, options.Resolve());
  ServerLog log(
      [](absl::string_view line) {
        std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
      },
      std::random_device{}(), options.plain_users);
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(resolved, log));
  log.Write("serving", {{"address", resolved.address},
                        {"grpc_port", server->grpc_port()},
                        {"http_port", server->http_port()},
                        {"admin_grpc_port", server->admin_grpc_port()},
                        {"admin_http_port", server->admin_http_port()},
                        {"ready_s", server->ready_s()}});
  int signal = 0;
  sigwait(&signals, &signal);
  log.Write("stopping", {{"signal", signal}});
  server->Stop();
  log.Write("stopped", nlohmann::json::object());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Ranks candidates by a trained model and keeps every user's history current.",
               "grab serve");
  app.set_config("--config", "", "TOML file of these options", false);
  app.footer(kFooter);
  ServeOptions options;
  options.Add(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::fprintf(stderr, "grab-serve: error: %s (--help shows how it goes)\n", error.what());
    return kExitUsage;
  }
  if (const Status status = ForceSimdTargetOfEnvironment(); !status.ok()) return Report(status);
  StopLookingForLockCycles();
  // Before any thread starts, so that all of them leave these to sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return Report(Serve(options, signals));
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
