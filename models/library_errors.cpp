#include "models/library_errors.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>
#include <string_view>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

// LibTorch's allocator has no type of error of its own: only the message tells it from others.
bool is_failed_allocation(const std::exception& error) {
  return dynamic_cast<const c10::Error*>(&error) != nullptr &&
         std::string_view(error.what()).find("DefaultCPUAllocator") != std::string_view::npos;
}

}  // namespace

std::string reason_of(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = from_torch != nullptr ? from_torch->what_without_backtrace() : error.what();
  // The interpreter of TorchScript puts the cause last, after the lines of code that led to it.
  constexpr std::string_view cause = "Error: ";
  const auto interpreted = text.find("failed in the TorchScript interpreter");
  const auto last = interpreted == std::string::npos ? interpreted : text.rfind(cause);
  const std::string_view rest =
      last == std::string::npos ? std::string_view(text) : std::string_view(text).substr(last + cause.size());
  return printable(rest.substr(0, rest.find('\n')));
}

void throw_translated(const std::exception& error) {
  if (const auto* file_system = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    throw FileSystemError(*file_system);
  }
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || is_failed_allocation(error)) throw OutOfMemory();
}

}  // namespace afterimage
