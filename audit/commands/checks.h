// Checks of option values that several commands share, made before any work.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>

namespace afterimage {

// Whole numbers, and real numbers, all finite: CLI11's own checks let NaN pass, which is neither below nor above any
// limit. The help shows the range behind the option's type.
CLI::Validator positive_integer();
CLI::Validator nonnegative_integer();
CLI::Validator integer_from(std::int64_t low, std::int64_t high);
CLI::Validator positive_number();
CLI::Validator nonnegative_number();
CLI::Validator number_from(double low, double high);
CLI::Validator number_between(double low, double high);  // neither of them

// Whether such a file or folder exists. Throws UsageError, with the option, where the name is too long for a file.
bool is_taken(const std::string& option, const std::filesystem::path& path);
// Throws UsageError, with the option, unless a file can be written there, over another or into a folder that exists.
void require_file_name(const std::string& option, const std::filesystem::path& path);
// Throws UsageError, with the option, unless it is an empty folder that can be written to, or one can be created.
// Creates nothing, so that a refusal later leaves nothing behind.
void require_folder_name(const std::string& option, const std::filesystem::path& path);

}  // namespace afterimage
