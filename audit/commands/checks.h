// What the values of options have to be, checked before any work: for options that several commands have alike.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

namespace afterimage {

// Real numbers, all finite. CLI11's own checks let NaN through, as it is neither below nor above any limit.
CLI::Validator positive_number();
CLI::Validator nonnegative_number();
CLI::Validator number_from(double low, double high);

// Whether anything has that name already. Throws UsageError, with the option, where nothing can have it: it is too
// long.
bool is_taken(const std::string& option, const std::filesystem::path& path);
// Throws UsageError, with the option, unless a file can be written there, over another or into a folder that exists.
void require_file_name(const std::string& option, const std::filesystem::path& path);
// Throws UsageError, with the option, unless there is an empty folder that can be written to, or one can be made. Makes
// nothing: what is refused later leaves nothing behind.
void require_folder_name(const std::string& option, const std::filesystem::path& path);

}  // namespace afterimage
