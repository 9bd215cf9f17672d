#include "bench/serving/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"

namespace grab::bench {
namespace {

constexpr uint64_t kLogBytesMax = 64 << 20;
constexpr double kStartMax_s = 300.0;
constexpr int64_t kPageBytes = 4096;

}  // namespace

StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(const std::string& binary,
                                                              std::vector<std::string> arguments,
                                                              const std::string& log_file) {
  for (const char* port :
       {"--grpc-port", "--http-port", "--admin-grpc-port", "--admin-http-port"}) {
    arguments.insert(arguments.end(), {port, "0"});
  }
  arguments.insert(arguments.begin(), binary);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log < 0) return FileError(log_file, "create", errno);
  const pid_t child = ::fork();
  if (child == 0) {
    // Whatever becomes of us, no server is left behind.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(log);
  std::unique_ptr<ServerProcess> server(new ServerProcess(child, log_file));
  GRAB_RETURN_IF_ERROR(server->WaitUntilServing());
  return server;
}

Status ServerProcess::WaitUntilServing() {
  const Stopwatch watch;
  std::string text;
  while (watch.Seconds() < kStartMax_s) {
    const bool ended = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
    if (ended) pid_ = 0;
    GRAB_ASSIGN_OR_RETURN(text, ReadFile(log_file_, kLogBytesMax));
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      const auto json = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
      if (!json.is_object() || json.value("event", "") != "serving") continue;
      target_ = absl::StrCat("127.0.0.1:", json.at("grpc_port").get<int>());
      admin_target_ = absl::StrCat("127.0.0.1:", json.at("admin_grpc_port").get<int>());
      admin_http_port_ = json.at("admin_http_port");
      ready_s_ = watch.Seconds();
      return absl::OkStatus();
    }
    if (ended) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return absl::InternalError(absl::StrCat(
      "grab-serve did not start: ", text.substr(text.size() > 2000 ? text.size() - 2000 : 0)));
}

ServerProcess::~ServerProcess() { Kill(); }

void ServerProcess::Kill() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

Status ServerProcess::Stop() {
  if (pid_ == 0) return absl::FailedPreconditionError("the server has ended");
  ::kill(pid_, SIGTERM);
  int state = 0;
  ::waitpid(pid_, &state, 0);
  pid_ = 0;
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("grab-serve ended with state ", state));
}

StatusOr<std::unique_ptr<Connection>> ServerProcess::Connect() const {
  ConnectOptions options;
  options.target = target_;
  return Connection::Open(options);
}

int64_t ServerProcess::RssBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", pid_, "/statm"));
  int64_t size = 0, resident = 0;
  return statm >> size >> resident ? resident * kPageBytes : 0;
}

}  // namespace grab::bench
