#include "cli/process.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"

extern char** environ;

namespace grab {
namespace {

constexpr size_t kOutputBytesMax = 64 << 10;

// As exec wants them; `argv` must outlive the call.
std::vector<char*> Pointers(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

StatusOr<pid_t> Spawn(const std::vector<std::string>& argv,
                      const posix_spawn_file_actions_t* actions) {
  GRAB_CHECK(!argv.empty());
  std::vector<char*> pointers = Pointers(argv);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, pointers[0], actions, nullptr, pointers.data(), environ);
  if (error != 0) return FileError(argv[0], "run", error);
  return pid;
}

StatusOr<int> Wait(pid_t pid, const std::string& name) {
  int state = 0;
  while (::waitpid(pid, &state, 0) < 0) {
    if (errno != EINTR) return FileError(name, "wait for", errno);
  }
  if (WIFEXITED(state)) return WEXITSTATUS(state);
  return absl::AbortedError(
      absl::StrCat("ended by signal ", WTERMSIG(state), " (", ::strsignal(WTERMSIG(state)), ")"));
}

}  // namespace

StatusOr<std::string> ExecutablePath() {
  char path[PATH_MAX];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof(path));
  if (size < 0) return FileError("/proc/self/exe", "read", errno);
  return std::string(path, static_cast<size_t>(size));
}

StatusOr<std::string> FindBinary(const std::string& name, const std::string& option) {
  GRAB_ASSIGN_OR_RETURN(const std::string self, ExecutablePath());
  std::vector<std::string> folders = {self.substr(0, self.rfind('/'))};
  if (const char* path = std::getenv("PATH")) {
    for (const absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
      folders.emplace_back(folder);
    }
  }
  for (const std::string& folder : folders) {
    const std::string candidate = JoinPath(folder, name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return absl::NotFoundError(absl::StrCat(name, ": neither in ", folders[0],
                                          " nor in PATH; build it (CMake target ", name, ", with ",
                                          option, "=ON)"));
}

Status Exec(const std::string& path, const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {path};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  ::execv(path.c_str(), Pointers(argv).data());
  return FileError(path, "run", errno);
}

StatusOr<int> RunProcess(const std::vector<std::string>& argv) {
  GRAB_ASSIGN_OR_RETURN(const pid_t pid, Spawn(argv, nullptr));
  return Wait(pid, argv[0]);
}

StatusOr<std::string> ReadProcess(const std::vector<std::string>& argv) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FileError(argv[0], "make a pipe for", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const StatusOr<pid_t> pid = Spawn(argv, &actions);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string output;
  char buffer[4096];
  // Read to the end even when it is too much: a full pipe would keep the command from ending.
  for (ssize_t size; pid.ok() && (size = ::read(ends[0], buffer, sizeof(buffer))) != 0;) {
    if (size < 0 && errno != EINTR) break;
    if (size > 0 && output.size() <= kOutputBytesMax) {
      output.append(buffer, static_cast<size_t>(size));
    }
  }
  ::close(ends[0]);
  GRAB_RETURN_IF_ERROR(pid.status());
  GRAB_ASSIGN_OR_RETURN(const int code, Wait(*pid, argv[0]));
  if (code != 0) return absl::UnavailableError(absl::StrCat(argv[0], ": exit code ", code));
  if (output.size() > kOutputBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(argv[0], ": wrote more than ", kOutputBytesMax, " bytes"));
  }
  return output;
}

}  // namespace grab
