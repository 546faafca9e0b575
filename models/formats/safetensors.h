// The safetensors format: u64 little-endian header length, a JSON header, the bytes.
//
// Everything that the header claims is checked against the file's size before it is used or allocated.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "models/foundations/array.h"

namespace afterimage {

struct Safetensors {
  NamedArrays arrays;  // in the order of their offsets
  std::map<std::string, std::string> metadata = {};
  std::vector<PassedOver> passed_over = {};  // tensors of dtypes that are not read
};

// Throws InputError: header longer than the file or 8 MiB, not JSON, duplicate names, a shape that
// overflows or does not fit its offsets, offsets that overlap, leave holes or pass the end.
Safetensors read_safetensors(const std::filesystem::path& path);

// Written to a temporary name and renamed.
void write_safetensors(const std::filesystem::path& path, const Safetensors& content);

}  // namespace afterimage
