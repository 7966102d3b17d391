//go:build (amd64 || arm64) && !purego

package xts

import "github.com/klauspost/cpuid/v2"

// maxCall bounds the bytes that one call of a kernel works on. Assembly is
// not preempted: a longer call would hold up the garbage collector.
const maxCall = 1 << 20

// kernel is an assembly function over n sectors. If stream is not 0, it
// prefetches from afar and writes around the caches; dst and sector must then
// be multiples of streamAlign.
type kernel func(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

const streamAlign = 64

// streamFrom is the length from which a call streams: source and destination
// together no longer fit into the second-level cache, so that what is written
// would be gone from it before anybody reads it. At most maxCall.
var streamFrom = min(max(1<<20, cpuid.CPU.Cache.L2)/2, maxCall) // bytes

// kernels are the functions of one implementation.
type kernels struct {
	encrypt10, decrypt10, encrypt14, decrypt14 kernel
}

// asmEngine is an implementation in assembly under one key.
type asmEngine struct {
	keys     *schedule
	enc, dec kernel
}

func (k kernels) expand(data, tweak []byte) (engine, error) {
	s, err := newSchedule(data, tweak)
	if err != nil {
		return nil, err
	}
	if rounds(data) == 10 {
		return &asmEngine{s, k.encrypt10, k.decrypt10}, nil
	}
	return &asmEngine{s, k.encrypt14, k.decrypt14}, nil
}

func (e *asmEngine) encrypt(dst, src []byte, sector, n int, iv, step uint64) {
	e.run(e.enc, dst, src, sector, n, iv, step)
}

func (e *asmEngine) decrypt(dst, src []byte, sector, n int, iv, step uint64) {
	e.run(e.dec, dst, src, sector, n, iv, step)
}

func (e *asmEngine) run(f kernel, dst, src []byte, sector, n int, iv, step uint64) {
	if len(src) < streamFrom {
		f(e.keys, &dst[0], &src[0], sector, n, iv, step, 0)
		return
	}
	stream := 0
	if streams(dst, src, sector) {
		stream = 1
	}
	for most := max(1, maxCall/sector); n > 0; n -= most {
		part := min(n, most)
		f(e.keys, &dst[0], &src[0], sector, part, iv, step, stream)
		dst, src = dst[part*sector:], src[part*sector:]
		iv += uint64(part) * step
	}
}

// streams reports whether a long call may write around the caches.
func streams(dst, src []byte, sector int) bool {
	return &dst[0] != &src[0] && (address(dst)|uintptr(sector))%streamAlign == 0
}

func (e *asmEngine) wipe() { e.keys.free() }
