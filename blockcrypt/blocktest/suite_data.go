package blocktest

import (
	"bytes"
	"errors"
	"math/rand/v2"

	"sealbay/blockcrypt/blockdev"
)

// noise returns n bytes that depend on seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rng := rand.NewChaCha8(key)
	_, _ = rng.Read(b) // documented never to fail
	return b
}

func (f *fixture) same(what string, got, want []byte) {
	f.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range want {
		if got[i] != want[i] {
			f.Fatalf("%s: byte %d of %d is %#02x, want %#02x", what, i, len(want), got[i], want[i])
		}
	}
}

func checkReadEnds(f *fixture) {
	q := f.open(blockdev.QueueOptions{})
	f.read(q, 0, f.info.Sector)
	f.read(q, f.info.Size-int64(f.info.Sector), f.info.Sector)
}

func checkRoundTrip(f *fixture) {
	q := f.open(blockdev.QueueOptions{Buffers: f.arena})
	for i, n := range []int{f.info.Sector, f.sectors(2), f.sectors(3), 64 << 10, blockdev.DefaultMaxTransfer} {
		for _, off := range []int64{0, int64(f.info.Sector), 1 << 20, f.info.Size - int64(n)} {
			want := noise(n, uint64(i)<<40+uint64(off))
			f.write(q, off, want)
			f.same("read back", f.read(q, off, n), want)
		}
	}
}

func checkNeighbours(f *fixture) {
	q := f.open(blockdev.QueueOptions{})
	want := noise(f.sectors(8), 1)
	f.write(q, 0, want)
	mine := noise(f.sectors(2), 2)
	f.write(q, int64(f.sectors(3)), mine)
	copy(want[f.sectors(3):], mine)
	f.same("around a write", f.read(q, 0, f.sectors(8)), want)

	buf := f.buf(f.sectors(3))
	for i := range buf {
		buf[i] = 0xA5
	}
	middle := buf[f.sectors(1):f.sectors(2):f.sectors(3)]
	if !blockdev.Aligned(middle, f.info.Align) {
		f.Fatalf("sector %d is no multiple of alignment %d", f.info.Sector, f.info.Align)
	}
	f.must(q, &blockdev.Request{Op: blockdev.Read, Offset: 0, Buf: middle})
	f.same("read into the middle of a buffer", middle, want[:f.sectors(1)])
	for _, side := range [][]byte{buf[:f.sectors(1)], buf[f.sectors(2):]} {
		f.same("beside the buffer of a read", side, bytes.Repeat([]byte{0xA5}, len(side)))
	}
}

func checkFlush(f *fixture) {
	q := f.open(blockdev.QueueOptions{Depth: 4})
	f.write(q, 0, noise(f.sectors(1), 3))
	// A Flush ignores offset and length, nonsense included.
	f.must(q, &blockdev.Request{Op: blockdev.Flush}, &blockdev.Request{Op: blockdev.Flush, Offset: -7, Length: -7})
}

func checkFUA(f *fixture) {
	q := f.open(blockdev.QueueOptions{})
	want := noise(f.sectors(5), 4)
	b := f.buf(len(want))
	copy(b, want)
	f.must(q, &blockdev.Request{Op: blockdev.Write, Flags: blockdev.FUA, Offset: int64(f.sectors(1)), Buf: b})
	f.same("written with FUA", f.read(q, int64(f.sectors(1)), len(want)), want)
	f.must(q, &blockdev.Request{Op: blockdev.WriteZeroes, Flags: blockdev.FUA, Offset: int64(f.sectors(1)), Length: int64(f.sectors(2))})
	clear(want[:f.sectors(2)])
	f.same("zeroed with FUA", f.read(q, int64(f.sectors(1)), len(want)), want)
}

func checkDiscard(f *fixture) {
	q := f.open(blockdev.QueueOptions{})
	want := noise(1<<20, 5)
	f.write(q, 0, want)
	r := &blockdev.Request{Op: blockdev.Discard, Offset: 256 << 10, Length: 512 << 10}
	f.do(q, r)
	if f.info.Discard && r.Err != nil {
		f.Fatalf("Info.Discard is true: %v", r.Err)
	}
	if !f.info.Discard && !errors.Is(r.Err, blockdev.ErrNotSupported) {
		f.Fatalf("Info.Discard is false, so Discard must be ErrNotSupported: %v", r.Err)
	}
	f.same("before a discard", f.read(q, 0, 256<<10), want[:256<<10])
	f.same("behind a discard", f.read(q, 768<<10, 256<<10), want[768<<10:])
	if !f.info.Discard {
		f.same("at a refused discard", f.read(q, 0, 1<<20), want)
	}
	f.write(q, 256<<10, want[:512<<10])
	f.same("written after a discard", f.read(q, 256<<10, 512<<10), want[:512<<10])
}

func checkWriteZeroes(f *fixture) {
	q := f.open(blockdev.QueueOptions{})
	// The last is larger than MaxTransfer, which binds only reads and writes.
	for _, n := range []int{f.sectors(1), f.sectors(3), 256 << 10, 2<<20 + f.sectors(1)} {
		around := noise(f.sectors(1), 6)
		first := int64(f.sectors(3))
		f.write(q, first-int64(f.sectors(1)), around)
		f.write(q, first, noise(f.sectors(1), 7))
		f.write(q, first+int64(n)-int64(f.sectors(1)), noise(f.sectors(1), 7))
		f.write(q, first+int64(n), around)
		f.must(q, &blockdev.Request{Op: blockdev.WriteZeroes, Offset: first, Length: int64(n)})
		f.same("before zeros", f.read(q, first-int64(f.sectors(1)), f.sectors(1)), around)
		f.same("behind zeros", f.read(q, first+int64(n), f.sectors(1)), around)
		for done := 0; done < n; done += 1 << 20 {
			part := min(1<<20, n-done)
			f.same("zeros", f.read(q, first+int64(done), part), make([]byte, part))
		}
	}
}

// checkRandom runs a queue at depth against a model in memory. Requests in
// flight never overlap: each has a region of its own.
func checkRandom(f *fixture) {
	const depth, region = 16, 128 << 10
	seed := rand.Uint64()
	f.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	q := f.open(blockdev.QueueOptions{Depth: depth, Buffers: f.arena})
	model := noise(depth*region, seed)
	for off := 0; off < len(model); off += 1 << 20 {
		f.write(q, int64(off), model[off:][:1<<20])
	}
	reqs, bufs := make([]*blockdev.Request, depth), make([][]byte, depth)
	for i := range reqs {
		reqs[i], bufs[i] = new(blockdev.Request), f.buf(region)
	}
	for range 25 {
		for i, r := range reqs {
			f.randomise(rng, r, bufs[i], int64(i*region), region, model)
		}
		f.must(q, reqs...)
		for _, r := range reqs {
			if r.Op == blockdev.Read {
				f.same("random read", r.Buf, model[r.Offset:][:len(r.Buf)])
			}
		}
	}
	for off := 0; off < len(model); off += region {
		f.same("at the end", f.read(q, int64(off), region), model[off:][:region])
	}
}

func (f *fixture) randomise(rng *rand.Rand, r *blockdev.Request, buf []byte, base int64, region int, model []byte) {
	all := region / f.info.Sector
	first := rng.IntN(all)
	n := f.sectors(1 + rng.IntN(all-first))
	*r = blockdev.Request{Offset: base + int64(f.sectors(first)), Tag: rng.Uint64()}
	there := model[r.Offset:][:n]
	switch rng.IntN(8) {
	case 0:
		r.Op, r.Length = blockdev.WriteZeroes, int64(n)
		clear(there)
	case 1, 2, 3:
		r.Op, r.Buf = blockdev.Write, buf[:n]
		r.Flags = blockdev.Flags(rng.IntN(2)) * blockdev.FUA
		copy(there, noise(n, rng.Uint64()))
		copy(buf, there)
	default:
		r.Op, r.Buf = blockdev.Read, buf[:n]
	}
}

// checkBuffers sends requests from inside and outside of the registered
// arena through one queue, and looks that a write leaves its buffer alone.
func checkBuffers(f *fixture) {
	inside, err := blockdev.NewArena(1 << 20)
	if err != nil {
		f.Fatal(err)
	}
	defer func() {
		if err := inside.Close(); err != nil {
			f.Error(err)
		}
	}()
	q, err := f.dev.OpenQueue(blockdev.QueueOptions{Depth: 2, Buffers: inside})
	if err != nil {
		f.Fatal(err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			f.Errorf("closing a queue: %v", err)
		}
	}()
	in, out := inside.Cut(64 << 10)[f.off%blockdev.PageSize:][:32<<10], f.buf(32<<10)
	for i, b := range [][]byte{in, out} {
		want := noise(len(b), uint64(i))
		copy(b, want)
		f.must(q, &blockdev.Request{Op: blockdev.Write, Offset: int64(i) << 20, Buf: b})
		f.same("the caller's buffer after a write", b, want)
		clear(b)
		f.must(q, &blockdev.Request{Op: blockdev.Read, Offset: int64(i) << 20, Buf: b})
		f.same("read back", b, want)
	}
}

func checkTwoQueues(f *fixture) {
	a, b := f.open(blockdev.QueueOptions{}), f.open(blockdev.QueueOptions{Depth: 4, SlotBase: 1})
	want := noise(f.sectors(4), 8)
	f.write(a, 0, want)
	f.same("written by one queue, read by another", f.read(b, 0, len(want)), want)
}
