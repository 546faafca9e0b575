// Errors of the standard library and of LibTorch as errors of this program (models/foundations/error.h).
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace afterimage {

// Throws OutOfMemory or FileSystemError where that is what `error` means; otherwise returns.
void throw_translated(const std::exception& error);

// Why, in one printable line: LibTorch's errors end in backtraces, and those of TorchScript begin with one.
std::string reason_of(const std::exception& error);

// The result of `work`, with its errors translated.
template <class Work>
auto with_own_errors(Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::exception& error) {
    throw_translated(error);
    throw;
  }
}

}  // namespace afterimage
