#include "audit/progress.h"

#include <fmt/format.h>
#include <semaphore.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "audit/context.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

// A single operation, as the decomposition of a large matrix, may take longer than a user waits.
constexpr auto longest_unheard = std::chrono::milliseconds(1500);

volatile std::sig_atomic_t interrupt_seen = 0;
std::atomic<bool> is_stopping = false;
sem_t seen;

extern "C" void on_interrupt(int signal) {
  interrupt_seen = 1;
  ::sem_post(&seen);
  std::signal(signal, SIG_DFL);  // a second one ends the program
}

void stop_if_interrupted() {
  if (interrupt_seen == 0) return;
  is_stopping = true;
  throw Interrupted();
}

// Ends the program where the work does not soon notice the interruption: files are renamed when they are whole, so what
// is finished is kept then too.
void end_if_unheard() {
  while (::sem_wait(&seen) != 0) {
  }
  std::this_thread::sleep_for(longest_unheard);
  if (is_stopping) return;
  fmt::print(stderr, "afterimage: {}\n", interrupted_text);
  ::_exit(interrupted);
}

class Interruptible : public Progress {
 public:
  void heed() const final {
    stop_if_interrupted();
    Progress::heed();
  }
};

class Lines final : public Interruptible {
 public:
  explicit Lines(bool quiet) : quiet_(quiet) {}
  void stage(std::string_view name) override {
    stop_if_interrupted();
    if (!quiet_) fmt::print(stderr, "{}\n", name);
  }
  void step(std::int64_t, std::int64_t, std::string_view) override { stop_if_interrupted(); }

 private:
  bool quiet_;
};

class Bar final : public Interruptible {
 public:
  ~Bar() override { clear(); }
  void stage(std::string_view name) override {
    stop_if_interrupted();
    clear();
    stage_ = name;
    started_ = std::chrono::steady_clock::now();
    drawn_ = {};
    fmt::print(stderr, "{}\n", name);
  }
  void step(std::int64_t done, std::int64_t total, std::string_view detail) override {
    stop_if_interrupted();
    const auto now = std::chrono::steady_clock::now();
    if (now - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = now;
    constexpr int width = 30;
    const double share = total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
    const int filled = static_cast<int>(share * width);
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const double left = share > 0 ? seconds * (1 - share) / share : 0;
    fmt::print(stderr, "\r\033[K  {}{} {:3.0f} %  at most {:.0f} s left  {}", std::string(filled, '#'),
               std::string(width - filled, '.'), 100 * share, left, detail);
    shown_ = true;
  }

 private:
  void clear() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
  }
  std::string stage_;
  std::chrono::steady_clock::time_point started_, drawn_;
  bool shown_ = false;
};

}  // namespace

std::unique_ptr<Progress> make_progress(bool quiet) {
  if (!quiet && ::isatty(STDERR_FILENO) != 0) return std::make_unique<Bar>();
  return std::make_unique<Lines>(quiet);
}

void catch_interrupts() {
  if (::sem_init(&seen, 0, 0) == 0) std::thread(end_if_unheard).detach();
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

}  // namespace afterimage
