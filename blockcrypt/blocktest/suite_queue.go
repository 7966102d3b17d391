package blocktest

import (
	"errors"
	"math"

	"sealbay/blockcrypt/blockdev"
)

func checkInfo(f *fixture) {
	i := f.info
	powerOfTwo := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	if i.Path == "" || i.Engine == "" {
		f.Errorf("no path or no engine: %+v", i)
	}
	if !powerOfTwo(i.Sector) || i.Sector < 512 || !powerOfTwo(i.Physical) || i.Physical < i.Sector {
		f.Errorf("sector %d, physical %d: want powers of two, 512 <= sector <= physical", i.Sector, i.Physical)
	}
	if !powerOfTwo(i.Align) || i.Align > blockdev.PageSize {
		f.Errorf("alignment %d: want a power of two up to a page", i.Align)
	}
	if i.Size%int64(i.Sector) != 0 {
		f.Errorf("size %d is no multiple of sector %d", i.Size, i.Sector)
	}
}

func checkReadOnly(f *fixture) {
	q := f.open(blockdev.QueueOptions{Depth: 4})
	before := f.read(q, 0, f.sectors(8))
	for _, r := range []*blockdev.Request{
		{Op: blockdev.Write, Buf: f.buf(f.sectors(1))},
		{Op: blockdev.WriteZeroes, Length: int64(f.sectors(1))},
		{Op: blockdev.Discard, Length: int64(f.sectors(8))},
	} {
		f.do(q, r)
		f.refused(r, blockdev.ErrReadOnly)
	}
	f.same("after refused writes", f.read(q, 0, f.sectors(8)), before)
}

// refused asks r to have failed for want with an error that names it.
func (f *fixture) refused(r *blockdev.Request, want error) {
	f.Helper()
	if !errors.Is(r.Err, want) {
		f.Errorf("%v at %d+%d: got %v, want %v", r.Op, r.Offset, r.Span(), r.Err, want)
		return
	}
	var op *blockdev.OpError
	if !errors.As(r.Err, &op) {
		f.Fatalf("%v is no *OpError", r.Err)
	}
	if op.Op != r.Op || op.Offset != r.Offset || op.Length != r.Span() || op.Path != f.info.Path {
		f.Errorf("error says %+v of %v at %d+%d on %s", *op, r.Op, r.Offset, r.Span(), f.info.Path)
	}
}

func checkMalformed(f *fixture) {
	sector, size := int64(f.info.Sector), f.info.Size
	buf := func(n int64) []byte { return f.buf(int(n)) }
	cases := []struct {
		r    blockdev.Request
		want error
	}{
		{blockdev.Request{Op: blockdev.Read, Offset: 1, Buf: buf(sector)}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Read, Offset: -sector, Buf: buf(sector)}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Read, Buf: buf(sector - 1)}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Read}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Write, Offset: sector / 2, Buf: buf(sector)}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Write, Buf: buf(sector + 8)}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Write}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Read, Offset: size, Buf: buf(sector)}, blockdev.ErrOutOfRange},
		{blockdev.Request{Op: blockdev.Write, Offset: size - sector, Buf: buf(2 * sector)}, blockdev.ErrOutOfRange},
		{blockdev.Request{Op: blockdev.Write, Offset: math.MaxInt64 &^ (sector - 1), Buf: buf(sector)}, blockdev.ErrOutOfRange},
		{blockdev.Request{Op: blockdev.WriteZeroes, Offset: 1, Length: sector}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.WriteZeroes, Length: 1}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.WriteZeroes}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.WriteZeroes, Length: -sector}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.WriteZeroes, Length: size + sector}, blockdev.ErrOutOfRange},
		{blockdev.Request{Op: blockdev.Discard, Length: 1}, blockdev.ErrUnaligned},
		{blockdev.Request{Op: blockdev.Discard, Offset: size, Length: sector}, blockdev.ErrOutOfRange},
		{blockdev.Request{Op: blockdev.WriteZeroes + 1, Length: sector}, blockdev.ErrNotSupported},
	}
	if f.info.Align > 1 {
		odd := f.arena.Cut(int(sector) + 1)[1:]
		cases = append(cases, struct {
			r    blockdev.Request
			want error
		}{blockdev.Request{Op: blockdev.Read, Buf: odd}, blockdev.ErrUnaligned})
	}
	q := f.open(blockdev.QueueOptions{Depth: 2})
	for _, c := range cases {
		f.do(q, &c.r)
		f.refused(&c.r, c.want)
	}
}

func checkTooLarge(f *fixture) {
	q := f.open(blockdev.QueueOptions{MaxTransfer: 64 << 10})
	f.must(q, &blockdev.Request{Op: blockdev.Read, Buf: f.buf(64 << 10)})
	for _, op := range []blockdev.Op{blockdev.Read, blockdev.Write} {
		r := &blockdev.Request{Op: op, Buf: f.buf(64<<10 + f.info.Sector)}
		f.do(q, r)
		f.refused(r, blockdev.ErrTooLarge)
	}
	d := f.open(blockdev.QueueOptions{SlotBase: 1})
	r := &blockdev.Request{Op: blockdev.Read, Buf: f.buf(blockdev.DefaultMaxTransfer + f.info.Sector)}
	f.do(d, r)
	f.refused(r, blockdev.ErrTooLarge)
}

func checkMalformedAmongGood(f *fixture) {
	q := f.open(blockdev.QueueOptions{Depth: 3})
	want := noise(f.sectors(1), 9)
	reqs := []*blockdev.Request{
		{Op: blockdev.Write, Buf: f.buf(f.sectors(1))},
		{Op: blockdev.Write, Offset: f.info.Size, Buf: f.buf(f.sectors(1))},
		{Op: blockdev.Write, Offset: int64(f.sectors(1)), Buf: f.buf(f.sectors(1))},
	}
	for _, r := range reqs {
		copy(r.Buf, want)
	}
	f.do(q, reqs...)
	if reqs[0].Err != nil || reqs[2].Err != nil {
		f.Errorf("a bad request spoilt its neighbours: %v, %v", reqs[0].Err, reqs[2].Err)
	}
	f.refused(reqs[1], blockdev.ErrOutOfRange)
	f.same("neighbour of a bad request", f.read(q, int64(f.sectors(1)), f.sectors(1)), want)
	// A request that failed is as good as new.
	reqs[1].Offset = 0
	f.must(q, reqs[1])
}

// reads returns n reads of one sector each, tagged from 1.
func (f *fixture) reads(n int) []*blockdev.Request {
	reqs := make([]*blockdev.Request, n)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: blockdev.Read, Offset: int64(f.sectors(i)), Buf: f.buf(f.sectors(1)), Tag: uint64(i + 1)}
	}
	return reqs
}

func (f *fixture) submit(q blockdev.Queue, reqs []*blockdev.Request, want int) {
	f.Helper()
	if n, err := q.Submit(reqs); err != nil || n != want {
		f.Fatalf("Submit took %d of %d requests (%v), want %d", n, len(reqs), err, want)
	}
}

func (f *fixture) reap(q blockdev.Queue, done []*blockdev.Request, min_, least, most int) int {
	f.Helper()
	n, err := q.Reap(done, min_)
	if err != nil || n < least || n > most {
		f.Fatalf("Reap(%d places, min %d) gave %d (%v), want %d to %d", len(done), min_, n, err, least, most)
	}
	return n
}

func checkFullQueue(f *fixture) {
	for _, depth := range []int{1, 3, 16} {
		q := f.open(blockdev.QueueOptions{Depth: depth, SlotBase: uint16(depth)})
		reqs := f.reads(depth + 2)
		f.submit(q, reqs, depth)
		f.submit(q, reqs[depth:], 0)
		done := make([]*blockdev.Request, depth+2)
		// What is complete but not reaped still holds its place.
		n := f.reap(q, done[:1], 1, 1, 1)
		f.submit(q, reqs[depth:depth+1], 1)
		f.submit(q, reqs[depth+1:], 0)
		for n < depth+1 {
			n += f.reap(q, done, 1, 1, depth+1-n)
		}
		f.submit(q, nil, 0)
	}
}

func checkReapMin(f *fixture) {
	q := f.open(blockdev.QueueOptions{Depth: 8})
	done := make([]*blockdev.Request, 16)
	f.reap(q, done, 0, 0, 0)
	f.reap(q, done, 5, 0, 0) // nothing in flight: nothing to wait for
	f.submit(q, f.reads(8), 8)
	f.reap(q, done[:3], 100, 3, 3) // min above len(done)
	n := 3 + f.reap(q, done, 2, 2, 5)
	n += f.reap(q, done, 100, 8-n, 8-n) // min above what is in flight
	f.reap(q, done[:0], 1, 0, 0)
	f.reap(q, nil, 0, 0, 0)
	f.submit(q, f.reads(2), 2)
	for n = 0; n < 2; { // polling gets there
		n += f.reap(q, done, 0, 0, 2-n)
	}
	f.reap(q, done, 1, 0, 0)
}

func checkOnceEach(f *fixture) {
	const depth, rounds = 8, 50
	q := f.open(blockdev.QueueOptions{Depth: depth, Buffers: f.arena})
	free, done := f.reads(depth), make([]*blockdev.Request, depth)
	back, sent := map[uint64]int{}, uint64(0)
	for sent < depth*rounds || len(free) < depth {
		n := len(free)
		if sent >= depth*rounds {
			n = 0
		}
		for i, r := range free[:n] {
			r.Tag = sent + uint64(i)
		}
		f.submit(q, free[:n], n)
		sent += uint64(n)
		free = free[n:]
		for _, r := range done[:f.reap(q, done, 1, 1, depth)] {
			back[r.Tag]++
			if r.Err != nil || r.Op != blockdev.Read || len(r.Buf) != f.info.Sector {
				f.Fatalf("came back changed or failed: %+v", *r)
			}
			free = append(free, r)
		}
	}
	for tag := range sent {
		if back[tag] != 1 {
			f.Fatalf("tag %d came back %d times", tag, back[tag])
		}
	}
}

func checkStamps(f *fixture) {
	q := f.open(blockdev.QueueOptions{Depth: 4})
	for _, op := range []blockdev.Op{blockdev.Read, blockdev.Write, blockdev.Flush, blockdev.WriteZeroes} {
		r := &blockdev.Request{Op: op, Buf: f.buf(f.sectors(1)), Length: int64(f.sectors(1))}
		r.Stamps = blockdev.Stamps{Submitted: 1, Encrypted: 1, Issued: 1, Completed: 1, Decrypted: 1, Reaped: 1}
		before := blockdev.Now()
		f.must(q, r)
		s, last := r.Stamps, before
		for _, at := range []struct {
			name  string
			t     int64
			maybe bool // 0 where a device does not encrypt
		}{
			{"submitted", s.Submitted, false}, {"encrypted", s.Encrypted, true}, {"issued", s.Issued, false},
			{"completed", s.Completed, false}, {"decrypted", s.Decrypted, true}, {"reaped", s.Reaped, false}, {"now", blockdev.Now(), false},
		} {
			if at.maybe && at.t == 0 {
				continue
			}
			if at.t < last {
				f.Errorf("%v: %s at %d ns, %d ns before what came before it: %+v", op, at.name, at.t, last-at.t, s)
			}
			last = at.t
		}
	}
}

func checkSlots(f *fixture) {
	const depth, base = 5, 300
	q := f.open(blockdev.QueueOptions{Depth: depth, SlotBase: base})
	reqs := f.reads(3 * depth)
	for len(reqs) > 0 {
		f.submit(q, reqs, depth)
		done := make([]*blockdev.Request, depth)
		held := map[uint16]bool{}
		for _, r := range done[:f.reap(q, done, depth, depth, depth)] {
			if r.Slot < base || r.Slot >= base+depth || held[r.Slot] {
				f.Fatalf("slot %d of a queue with slots %d to %d, in use: %v", r.Slot, base, base+depth-1, held)
			}
			held[r.Slot] = true
		}
		reqs = reqs[depth:]
	}
}

func checkCloseInFlight(f *fixture) {
	q, err := f.dev.OpenQueue(blockdev.QueueOptions{Depth: 8})
	if err != nil {
		f.Fatal(err)
	}
	reqs := f.reads(8)
	for _, r := range reqs {
		r.Op = blockdev.Write
	}
	f.submit(q, reqs, 8)
	if err := q.Close(); err != nil {
		f.Fatalf("closing with requests in flight: %v", err)
	}
	for _, r := range reqs {
		if r.Err != nil {
			f.refused(r, blockdev.ErrClosed)
		}
	}
	if n, err := q.Submit(reqs); n != 0 || !errors.Is(err, blockdev.ErrClosed) {
		f.Errorf("Submit after Close: %d, %v, want 0, %v", n, err, blockdev.ErrClosed)
	}
	if n, err := q.Reap(reqs, 1); n != 0 || !errors.Is(err, blockdev.ErrClosed) {
		f.Errorf("Reap after Close: %d, %v, want 0, %v", n, err, blockdev.ErrClosed)
	}
	if err := q.Close(); err != nil {
		f.Errorf("second Close: %v", err)
	}
}

func checkClosed(f *fixture) {
	if err := f.dev.Close(); err != nil {
		f.Fatal(err)
	}
	if _, err := f.dev.OpenQueue(blockdev.QueueOptions{}); !errors.Is(err, blockdev.ErrClosed) {
		f.Errorf("queue of a closed device: %v, want %v", err, blockdev.ErrClosed)
	}
}
