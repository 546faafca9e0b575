// How long-running work reports its progress, and is told to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace afterimage {

inline constexpr const char* out_of_time_text = "--time-limit was reached before the attack was done; give more time";

// The time was up, and the work went on for longer than it may.
class OutOfTime : public std::runtime_error {
 public:
  OutOfTime() : std::runtime_error(out_of_time_text) {}
};

class Progress {
 public:
  virtual ~Progress() = default;
  // Begins a stage of the work, e.g. "finite-width: searching".
  virtual void stage(std::string_view name) = 0;
  // `done` of at most `total` steps are done; `detail` is a few words such as a loss. Cheap enough to call every step.
  // Throws Interrupted when the user asked to stop.
  virtual void step(std::int64_t done, std::int64_t total, std::string_view detail) = 0;

  void end_after(std::chrono::duration<double> limit) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(limit);
  }
  // Whether the time is up: the work is then to end soon with the results that it has, which is not an error.
  bool out_of_time() const { return deadline_ && std::chrono::steady_clock::now() >= *deadline_; }
  // For places in long operations that have no steps to report: throws Interrupted when the user asked to stop, and
  // OutOfTime where the time was up some seconds ago.
  virtual void heed() const {
    if (deadline_ && std::chrono::steady_clock::now() >= *deadline_ + patience) throw OutOfTime();
  }

 private:
  static constexpr std::chrono::seconds patience{4};  // to end in order and with results
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

// Reports nothing and never stops: for tests and for callers without a user.
class Silent final : public Progress {
 public:
  void stage(std::string_view) override {}
  void step(std::int64_t, std::int64_t, std::string_view) override {}
};

}  // namespace afterimage
