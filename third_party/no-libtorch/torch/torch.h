// .cargo/config.toml puts this folder last on the C++ include path, so torch-sys compiles against
// this file only when there is no libtorch. An #error would be buried under what follows it; a
// missing include ends the compilation at once, and gcc and clang both print its name.
#if __has_include_next(<torch/torch.h>)
#include_next <torch/torch.h>
#else
#include "libtorch is missing: run `make libtorch`, or build with --no-default-features"
#endif
