// PNG files of 16 bits a sample.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace afterimage {

// The samples of a PNG file with their 16 bits scaled to 8, rounded as by libpng's png_set_scale_16; [height, width,
// `channels`]. By stb_image: of an interlaced file of 16 bits, libpng's simplified interface (1.6.39-2+deb12u1) gives
// wrong rows. `bytes` have to be a whole file whose chunks and image data were checked. Throws InputError that names
// `file`.
std::vector<std::byte> deep_png_pixels(std::string_view bytes, int channels, const std::string& file);

}  // namespace afterimage
