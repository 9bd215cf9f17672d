// grab-serve: the server. `grab serve` runs it.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "base/program.h"
#include "base/threads.h"
#include "kernels/simd_target.h"
#include "server/options.h"

namespace grab {
namespace {

constexpr char kProgram[] = "grab-serve";

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
  if (const auto code = ParseCommandLine(app, argc, argv, kProgram)) return *code;
  if (const Status status = ForceSimdTargetOfEnvironment(); !status.ok())
    return ExitCode(status, kProgram);
  StopLookingForLockCycles();
  // Before any thread starts, so that all of them leave these to sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return ExitCode(Serve(options, signals), kProgram);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
