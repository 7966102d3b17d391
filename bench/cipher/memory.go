package cipher

import (
	"fmt"
	"math/rand/v2"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

const (
	cacheBytes = 128 << 10 // of each buffer of the working set Cache
	window     = 1 << 20   // of one call in the working set Memory
	request    = 128 << 10 // of one call in the working set Request, or of a subject below 1 GB/s
	memoryMin  = 64 << 20  // of each buffer of the working sets Request and Memory
	memoryMax  = 512 << 20
	hugePage   = 2 << 20
)

// memory is a pair of buffers outside the Go heap, on huge pages where the
// kernel has them: scattered small pages collide in the second-level cache,
// a matter of luck that differs from run to run.
type memory struct {
	all      []byte
	src, dst []byte
	at       int // start of the next window
}

func newMemory(size int, seed uint64) (*memory, error) {
	all, err := mapped(2*size + 2*hugePage)
	if err != nil {
		return nil, err
	}
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(all)))) & (hugePage - 1)
	m := &memory{all: all, src: all[skip : skip+size], dst: all[skip+size : skip+2*size]}
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(m.src) // never fails (math/rand/v2)
	copy(m.dst, m.src)
	return m, nil
}

func mapped(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping a buffer of %d bytes: %w", size, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a kernel without them is as good, only slower
	return b, nil
}

func (m *memory) close() error { return unix.Munmap(m.all) }

// next returns the next window of n bytes of both buffers.
func (m *memory) next(n int) (dst, src []byte) {
	if m.at+n > len(m.src) {
		m.at = 0
	}
	dst, src = m.dst[m.at:m.at+n], m.src[m.at:m.at+n]
	m.at += n
	return dst, src
}

// memoryBytes is the size of a buffer that no cache holds.
func memoryBytes() int {
	return min(max(memoryMin, 2*max(0, cpuid.CPU.Cache.L3)), memoryMax)
}
