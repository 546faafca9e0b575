// PNG and JPEG files as pixels, decoded by libpng and TurboJPEG.
//
// Sizes are held against the bytes of the file before anything is allocated for them, and what the decoders only warn
// of (data that end early, a wrong checksum, too many data) is an error here: a picture is read whole or not at all.
#pragma once

#include <filesystem>

#include "models/foundations/array.h"

namespace afterimage {

// Whether a file's name ends as those of PNG and JPEG files do: .png, .jpg, .jpeg, in either case.
bool has_image_name(const std::filesystem::path& path);

// Bytes [h, w] of a grey picture, [h, w, 3] (red, green, blue) of any other. Palettes are looked up, 16 bits are
// rounded to 8; gamma, colour profiles and the orientation that a camera noted are not applied. Throws InputError on a
// signature that does not fit the name, a side above 16384 or more than 64 million pixels, more pixels than the file
// can hold, pixels that are not opaque, CMYK, anything corrupt, and bytes after the end of a PNG file (cameras append
// some to JPEG files).
Array read_image(const std::filesystem::path& path);

}  // namespace afterimage
