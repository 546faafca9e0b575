#include "models/library_errors.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>
#include <string_view>

#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

// LibTorch's allocator has no type of error of its own: only the message tells it from others.
bool is_failed_allocation(const std::exception& error) {
  return dynamic_cast<const c10::Error*>(&error) != nullptr &&
         std::string_view(error.what()).find("DefaultCPUAllocator") != std::string_view::npos;
}

}  // namespace

void throw_translated(const std::exception& error) {
  if (const auto* file_system = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    throw FileSystemError(*file_system);
  }
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || is_failed_allocation(error)) throw OutOfMemory();
}

}  // namespace afterimage
