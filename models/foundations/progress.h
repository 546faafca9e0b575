// How long-running work reports its progress, and is told to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace afterimage {

class Progress {
 public:
  virtual ~Progress() = default;
  // Begins a stage of the work, e.g. "finite-width: searching".
  virtual void stage(std::string_view name) = 0;
  // `done` of at most `total` steps are done; `detail` is a few words such as a loss. Cheap enough to call every step.
  // Throws Interrupted when the user asked to stop.
  virtual void step(std::int64_t done, std::int64_t total, std::string_view detail) = 0;

  // Whether the time is up: the work is then to end soon with the results that it has, which is not an error.
  void end_after(std::chrono::duration<double> limit) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(limit);
  }
  bool out_of_time() const { return deadline_ && std::chrono::steady_clock::now() >= *deadline_; }

 private:
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

// Reports nothing and never stops: for tests and for callers without a user.
class Silent final : public Progress {
 public:
  void stage(std::string_view) override {}
  void step(std::int64_t, std::int64_t, std::string_view) override {}
};

}  // namespace afterimage
