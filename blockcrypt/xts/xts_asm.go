//go:build amd64 && !purego

package xts

// maxCall bounds the bytes that one call of a kernel works on. Assembly is
// not preempted: a longer call would hold up the garbage collector.
const maxCall = 1 << 20

// kernel is an assembly function over n sectors.
type kernel func(s *schedule, dst, src *byte, sector, n int, iv, step uint64)

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

func (e *asmEngine) encrypt(dst, src []byte, sector int, iv, step uint64) {
	e.run(e.enc, dst, src, sector, iv, step)
}

func (e *asmEngine) decrypt(dst, src []byte, sector int, iv, step uint64) {
	e.run(e.dec, dst, src, sector, iv, step)
}

func (e *asmEngine) run(f kernel, dst, src []byte, sector int, iv, step uint64) {
	for len(src) > 0 {
		n := min(len(src)/sector, max(1, maxCall/sector))
		f(e.keys, &dst[0], &src[0], sector, n, iv, step)
		dst, src = dst[n*sector:], src[n*sector:]
		iv += uint64(n) * step
	}
}

func (e *asmEngine) wipe() { e.keys.free() }
