#include "audit/jobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include "audit/context.h"

namespace afterimage {
namespace {

constexpr const char* own_program = "/proc/self/exe";
constexpr std::uint64_t kibi = 1024;

struct Running {
  std::size_t job = 0, command = 0;
};

// Bytes that a new process can have without swapping, as Linux estimates them; 0 where it does not say.
std::uint64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  std::uint64_t value = 0;
  while (in >> name >> value) {
    std::getline(in, unit);
    if (name == "MemAvailable:") return value * kibi;
  }
  return 0;
}

pid_t start(const std::vector<std::string>& words, const std::string& log) {
  std::vector<std::string> copy = words;
  copy.insert(copy.begin(), "afterimage");
  std::vector<char*> argv;
  for (auto& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out < 0) throw std::runtime_error(fmt::format("{}: cannot be written ({})", log, std::strerror(errno)));
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {  // nothing but system calls from here on
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(internal);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(own_program, argv.data());
    _exit(internal);
  }
  close(out);
  if (child < 0) throw std::runtime_error(fmt::format("cannot start a process ({})", std::strerror(errno)));
  return child;
}

std::string last_line(const std::filesystem::path& log) {
  std::ifstream in(log);
  std::string line, last;
  while (std::getline(in, line)) {
    if (!line.empty()) last = line;
  }
  constexpr std::string_view prefix = "afterimage: ";
  return last.starts_with(prefix) ? last.substr(prefix.size()) : last;
}

bool is_success(int exit_code) { return exit_code == done || exit_code == inconclusive; }

class Jobs {
 public:
  Jobs(const std::vector<ProcessJob>& jobs, std::int64_t most) : jobs_(jobs), most_(static_cast<std::size_t>(most)) {}
  ~Jobs() {
    for (const auto& [process, running] : running_) kill(process, SIGINT);
    for (const auto& [process, running] : running_) waitpid(process, nullptr, 0);
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  void run(Progress& progress, const std::function<void(std::size_t, const ProcessResult&)>& ended) {
    std::size_t finished = 0;
    while (finished < jobs_.size()) {
      while (next_ < jobs_.size() && has_room()) {
        progress.stage(jobs_[next_].name);
        begin({next_++, 0});
      }
      progress.step(static_cast<std::int64_t>(finished), static_cast<std::int64_t>(jobs_.size()),
                    fmt::format("{} at once", running_.size()));
      if (const auto result = wait_for_one()) {
        ++finished;
        ended(result->first, result->second);
      }
    }
  }

 private:
  bool has_room() const {
    if (running_.empty()) return true;
    if (running_.size() >= most_ || peak_ == 0) return false;
    const std::uint64_t available = available_memory();
    return available == 0 || available > peak_ + peak_ / 4;
  }

  void begin(Running running) {
    const ProcessJob& job = jobs_[running.job];
    running_[start(job.commands[running.command], job.log.string())] = running;
  }

  // The job that has ended, if one has, within a moment.
  std::optional<std::pair<std::size_t, ProcessResult>> wait_for_one() {
    int status = 0;
    rusage usage{};
    const pid_t process = wait4(-1, &status, WNOHANG, &usage);
    const auto found = running_.find(process);
    if (process <= 0 || found == running_.end()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return std::nullopt;
    }
    Running running = found->second;
    running_.erase(found);
    const int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : internal;
    const ProcessJob& job = jobs_[running.job];
    if (is_success(exit_code) && ++running.command < job.commands.size()) {
      begin(running);
      return std::nullopt;
    }
    peak_ = std::max(peak_, static_cast<std::uint64_t>(usage.ru_maxrss) * kibi);
    if (is_success(exit_code)) return std::pair{running.job, ProcessResult{exit_code, {}}};
    const std::string killed = WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status)) : "";
    return std::pair{running.job, ProcessResult{exit_code, killed.empty() ? last_line(job.log) : killed}};
  }

  const std::vector<ProcessJob>& jobs_;
  std::size_t most_, next_ = 0;
  std::map<pid_t, Running> running_;
  std::uint64_t peak_ = 0;  // the most that any has taken
};

}  // namespace

void run_jobs(const std::vector<ProcessJob>& jobs, std::int64_t most, Progress& progress,
              const std::function<void(std::size_t, const ProcessResult&)>& done) {
  Jobs(jobs, most).run(progress, done);
}

}  // namespace afterimage
