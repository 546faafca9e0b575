// A way to stop work that reports no progress: long operations call stop_point(), and whoever runs them says what that
// does.
#pragma once

#include <functional>

namespace afterimage {

// While it lives, stop_point() calls `check`, which throws where the work has to end. Scopes may be nested. For one
// thread, the one that makes the scopes.
class StopScope {
 public:
  explicit StopScope(std::function<void()> check);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  std::function<void()> outer_;
};

// Does nothing outside every scope and on other threads.
void stop_point();

}  // namespace afterimage
