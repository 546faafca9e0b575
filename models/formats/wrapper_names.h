// What wrappers of a network add to the names of its tensors, and parts of a file whose names begin alike.
#pragma once

#include <string>

#include "models/foundations/array.h"

namespace afterimage {

// Takes it off, with a note for each part: "module." (DataParallel, AveragedModel) and "_module." (Opacus) where the
// names of all floating-point arrays begin with them; "_orig_mod." (torch.compile), "_fsdp_wrapped_module.",
// "_checkpoint_wrapped_module." and "_forward_module." anywhere. Throws InputError, naming `file`, where two arrays
// would get one name.
void take_off_wrappers(ArrayFile& content, const std::string& file);

// Keeps what has a name that begins with `prefix`, as "teacher.", without it, with a note; "/" in names is taken for
// ".". Returns whether any array has one; else nothing is changed.
bool keep_part(ArrayFile& content, const std::string& prefix);

}  // namespace afterimage
