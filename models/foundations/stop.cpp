#include "models/foundations/stop.h"

#include <utility>

namespace afterimage {
namespace {

thread_local std::function<void()> current_check;

}  // namespace

StopScope::StopScope(std::function<void()> check) : outer_(std::exchange(current_check, std::move(check))) {}

StopScope::~StopScope() { current_check = std::move(outer_); }

void stop_point() {
  if (current_check) current_check();
}

}  // namespace afterimage
