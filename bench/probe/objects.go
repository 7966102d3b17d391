package probe

// The BPF objects and their Go bindings are committed, so that building needs
// no compiler but Go's. They come from clang 14 byte for byte; a test compiles
// them again and compares.
//
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -cflags "-O2 -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror" -no-global-types -type slot -type thread stages bpf/stages.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -cflags "-O2 -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror" -no-global-types -type histogram live bpf/live.c
