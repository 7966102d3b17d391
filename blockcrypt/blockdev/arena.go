package blockdev

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PageSize is the alignment of an Arena and of the buffers cut from it.
const PageSize = 4096

// hugePage is the size of a huge page on amd64 and arm64 with 4 KiB pages.
const hugePage = 2 << 20

// Arena is memory outside the Go heap for I/O buffers: page-aligned, zeroed,
// never moved, left out of core files, in huge pages where there are any. An
// engine may register it with the kernel (io_uring_register(2),
// IORING_REGISTER_BUFFERS).
type Arena struct {
	mem []byte
	cut int
	raw []byte // as mapped; mem lies in it
}

// NewArena maps size bytes, rounded up to whole pages.
func NewArena(size int) (*Arena, error) {
	if size <= 0 {
		return nil, fmt.Errorf("arena of %d bytes: size must be positive", size)
	}
	a := &Arena{}
	if err := a.mmap((size + PageSize - 1) &^ (PageSize - 1)); err != nil {
		return nil, fmt.Errorf("mapping an arena of %d bytes: %w", size, err)
	}
	if err := unix.Madvise(a.mem, unix.MADV_DONTDUMP); err != nil {
		_ = a.Close() // the first error is the one to tell
		return nil, fmt.Errorf("keeping an arena out of core files: %w", err)
	}
	return a, nil
}

// mmap maps size bytes, all of them present. From one huge page on it asks
// for huge pages: fewer address translations for the cipher, fewer segments
// for the drive.
func (a *Arena) mmap(size int) (err error) {
	const prot, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	if size < hugePage {
		a.raw, err = unix.Mmap(-1, 0, size, prot, how|unix.MAP_POPULATE)
		a.mem = a.raw
		return err
	}
	// One huge page more, so that it can start at one.
	if a.raw, err = unix.Mmap(-1, 0, size+hugePage, prot, how); err != nil {
		return err
	}
	start := -uintptr(unsafe.Pointer(unsafe.SliceData(a.raw))) & (hugePage - 1)
	a.mem = a.raw[start:][:size:size]
	_ = unix.Madvise(a.mem, unix.MADV_HUGEPAGE) // EINVAL where the kernel has none: small pages do
	if err := unix.Madvise(a.mem, unix.MADV_POPULATE_WRITE); err != nil {
		clear(a.mem) // before Linux 5.14: touching it is as good
	}
	return nil
}

// Cut returns the next n bytes, starting on a page. It panics when the arena
// is used up: whoever sized it made the mistake.
func (a *Arena) Cut(n int) []byte {
	if n <= 0 || n > len(a.mem)-a.cut {
		panic(fmt.Sprintf("blockdev: cutting %d bytes from an arena with %d left", n, len(a.mem)-a.cut))
	}
	b := a.mem[a.cut : a.cut+n : a.cut+n]
	a.cut += (n + PageSize - 1) &^ (PageSize - 1)
	a.cut = min(a.cut, len(a.mem))
	return b
}

// Bytes returns the whole arena.
func (a *Arena) Bytes() []byte { return a.mem }

// Contains reports whether buf lies wholly inside the arena.
func (a *Arena) Contains(buf []byte) bool {
	if a == nil || len(a.mem) == 0 || len(buf) == 0 {
		return false
	}
	lo := uintptr(unsafe.Pointer(unsafe.SliceData(a.mem)))
	p := uintptr(unsafe.Pointer(unsafe.SliceData(buf)))
	return p >= lo && p+uintptr(len(buf)) <= lo+uintptr(len(a.mem))
}

// Close wipes and unmaps the arena. No buffer cut from it may be used after.
func (a *Arena) Close() error {
	if a.mem == nil {
		return nil
	}
	clear(a.mem)
	raw := a.raw
	a.mem, a.raw = nil, nil
	return unix.Munmap(raw)
}
