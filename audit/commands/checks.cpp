#include "audit/commands/checks.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

CLI::Validator real_number(const std::string& right, const std::string& name, const std::function<bool(double)>& fits) {
  const auto check = [right, fits](const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool number = !text.empty() && *end == '\0' && std::isfinite(value);
    return number && fits(value) ? "" : fmt::format("{} has to be {}", printable(text), right);
  };
  return {check, name};
}

CLI::Validator whole_number(const std::string& right, const std::string& name, std::int64_t low, std::int64_t high) {
  const auto check = [right, low, high](const std::string& text) {
    char* end = nullptr;
    errno = 0;
    const std::int64_t value = std::strtoll(text.c_str(), &end, 0);  // as CLI11 reads it: +4 and 0x10 too
    const bool fits = !text.empty() && *end == '\0' && errno == 0 && value >= low && value <= high;
    return fits ? "" : fmt::format("{} has to be {}", printable(text), right);
  };
  return {check, name};
}

[[noreturn]] void refuse(const std::string& option, const fs::path& path, const std::string& why) {
  throw UsageError(fmt::format("{} {}: {}", option, path.string(), why));
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : "."; }

void require_writable(const std::string& option, const fs::path& path, const fs::path& folder) {
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return;
  refuse(option, path,
         fmt::format("{} cannot be written to ({}); name another folder", folder.string(), std::strerror(errno)));
}

}  // namespace

CLI::Validator positive_integer() {
  return whole_number("a positive whole number", "POSITIVE", 1, std::numeric_limits<std::int64_t>::max());
}

CLI::Validator nonnegative_integer() {
  return whole_number("a whole number that is not negative", "NONNEGATIVE", 0,
                      std::numeric_limits<std::int64_t>::max());
}

CLI::Validator integer_from(std::int64_t low, std::int64_t high) {
  return whole_number(fmt::format("a whole number from {} to {}", low, high), fmt::format("{} to {}", low, high), low,
                      high);
}

CLI::Validator positive_number() {
  return real_number("a finite positive number", "POSITIVE", [](double value) { return value > 0; });
}

CLI::Validator nonnegative_number() {
  return real_number("a finite number that is not negative", "NONNEGATIVE", [](double value) { return value >= 0; });
}

CLI::Validator number_from(double low, double high) {
  return real_number(fmt::format("a number from {} to {}", low, high), fmt::format("{} to {}", low, high),
                     [=](double value) { return value >= low && value <= high; });
}

CLI::Validator number_between(double low, double high) {
  return real_number(fmt::format("a number above {} and below {}", low, high), fmt::format("{} to {}", low, high),
                     [=](double value) { return value > low && value < high; });
}

bool is_taken(const std::string& option, const fs::path& path) {
  std::error_code error;
  const bool there = fs::exists(path, error);
  if (error) refuse(option, path, fmt::format("cannot be used ({}); give another name", error.message()));
  return there;
}

void require_file_name(const std::string& option, const fs::path& path) {
  if (!path.has_filename()) refuse(option, path, "names no file; name one");
  const fs::path folder = folder_of(path);
  if (is_taken(option, path)) {
    if (fs::is_directory(path)) refuse(option, path, "is a folder; name a file");
    if (!fs::is_regular_file(path)) refuse(option, path, "is not a regular file; name another");
  } else if (!is_taken(option, folder) || !fs::is_directory(folder)) {
    refuse(option, path, fmt::format("there is no folder {}; create it first, or name another", folder.string()));
  }
  require_writable(option, path, folder);
  static_cast<void>(is_taken(option, temporary_name(path)));  // the longest name that is written
}

void require_folder_name(const std::string& option, const fs::path& path) {
  if (path.empty()) refuse(option, "''", "names no folder; name a new or empty one");
  if (is_taken(option, path)) return prepare_output_folder(path, false);
  fs::path above = folder_of(path);
  while (!is_taken(option, above)) above = folder_of(above);
  if (!fs::is_directory(above)) refuse(option, path, fmt::format("{} is not a folder; name another", above.string()));
  require_writable(option, path, above);
}

}  // namespace afterimage
