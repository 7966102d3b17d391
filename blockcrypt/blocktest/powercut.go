package blocktest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// block is what PowerCut writes at a time; bytes. It uses that many of them.
const (
	block  = 4096
	blocks = 32
)

// state is what must be on the drive after the first entries of its journal.
type state struct {
	entries int
	stable  map[int64]byte // by offset: what fills the block
}

// PowerCut writes through the device that over puts on m, cuts the power
// before and after each operation that reached m, and looks through a new
// device that what was acknowledged after a Flush or with FUA is there: with
// one request at a time, and with several in flight. It closes each device,
// works on copies of m, and needs place for 32 blocks of 4096 bytes.
func PowerCut(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device) {
	for _, depth := range []int{1, 4} {
		t.Run(fmt.Sprintf("depth %d", depth), func(t *testing.T) { powerCut(t, m.Crash(KeepAll), depth, over) })
	}
}

func powerCut(t *testing.T, m *Memory, depth int, over func(t *testing.T, m *Memory) blockdev.Device) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := over(t, m)
	m.Record()
	w := writer{depth: depth, seed: seed, entries: func() int { return len(m.Journal()) }}
	states := w.run(t, d)
	cuts := 0
	for name, drive := range m.Cuts(seed) {
		cuts++
		checkStable(t, name, over(t, drive), acknowledged(t, name, states))
	}
	t.Logf("%d cuts in %d operations", cuts, len(m.Journal()))
	if cuts < 2*len(states) {
		t.Errorf("only %d cuts in %d batches", cuts, len(states))
	}
}

// acknowledged is what was promised when the journal was as long as name says.
func acknowledged(t *testing.T, name string, states []state) map[int64]byte {
	t.Helper()
	var entries int
	if _, err := fmt.Sscanf(name, "cut %d of", &entries); err != nil {
		t.Fatal(err)
	}
	var stable map[int64]byte
	for _, s := range states {
		if s.entries <= entries {
			stable = s.stable
		}
	}
	for _, s := range states {
		if s.entries > entries {
			return Between(stable, s.stable)
		}
	}
	return stable
}

// Promises writes through d, which it closes, at the depth, and calls mark
// after each batch. It returns for each batch what is promised to be on the
// drive from then on: by offset what fills the 4096 bytes. It is for judges of
// its content that are not a Memory. What was written and is not yet flushed
// is not overwritten with FUA: dm-log-writes puts such a pair down the wrong
// way round.
func Promises(t *testing.T, d blockdev.Device, depth int, mark func(batch int)) (promised []map[int64]byte) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	batch := 0
	w := writer{depth: depth, seed: seed, orderly: true, entries: func() int { mark(batch); batch++; return batch }}
	for _, s := range w.run(t, d) {
		promised = append(promised, s.stable)
	}
	return promised
}

// Between returns what is still promised while the batch goes on that makes
// next of promised: what it overwrites may be old or new.
func Between(promised, next map[int64]byte) map[int64]byte {
	kept := maps.Clone(promised)
	maps.DeleteFunc(kept, func(off int64, b byte) bool {
		after, still := next[off]
		return !still || after != b
	})
	return kept
}

// writer writes batches of up to depth requests, no two of one block.
type writer struct {
	depth   int
	seed    uint64
	orderly bool       // no FUA over what is not yet flushed
	entries func() int // how far the drive's journal is
}

func (w *writer) run(t *testing.T, d blockdev.Device) (states []state) {
	t.Helper()
	rng, depth := rand.New(rand.NewPCG(w.seed, 0)), w.depth
	l := openLane(t, d, depth)
	defer l.close()
	stable, written := map[int64]byte{}, map[int64]byte{}
	for i := range 120 / depth {
		var reqs []*blockdev.Request
		before := maps.Clone(written)
		for j, at := range rng.Perm(blocks)[:1+rng.IntN(depth)] {
			r, b := randomWrite(rng, l.buf(j, byte(1+(i*depth+j)%255)), int64(at)*block)
			_, dirty := written[r.Offset]
			if _, clean := stable[r.Offset]; w.orderly && dirty && !clean {
				r.Flags = 0
			}
			reqs = append(reqs, r)
			if r.Op != blockdev.Flush {
				written[r.Offset] = b
			}
		}
		l.do(reqs)
		settleStable(t, reqs, stable, before, written)
		states = append(states, state{w.entries(), maps.Clone(stable)})
	}
	return states
}

func randomWrite(rng *rand.Rand, buf []byte, off int64) (*blockdev.Request, byte) {
	r, b := &blockdev.Request{Op: blockdev.Write, Offset: off, Buf: buf}, buf[0]
	if rng.IntN(3) == 0 {
		r, b = &blockdev.Request{Op: blockdev.WriteZeroes, Offset: off, Length: block}, 0
	}
	switch rng.IntN(4) {
	case 0:
		r.Flags = blockdev.FUA
	case 1:
		r = &blockdev.Request{Op: blockdev.Flush}
	}
	return r, b
}

// settleStable brings stable up to date after reqs, which were in flight
// together: a Flush among them covers what was complete before them, and is
// not asked about what they overwrite.
func settleStable(t *testing.T, reqs []*blockdev.Request, stable, before, written map[int64]byte) {
	t.Helper()
	for _, r := range reqs {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Op == blockdev.Flush {
			maps.Copy(stable, before)
		}
	}
	for _, r := range reqs {
		if r.Op == blockdev.Flush {
			continue
		}
		delete(stable, r.Offset)
		if r.Flags&blockdev.FUA != 0 {
			stable[r.Offset] = written[r.Offset]
		}
	}
}

func checkStable(t *testing.T, name string, d blockdev.Device, want map[int64]byte) {
	t.Helper()
	l := openLane(t, d, 1)
	defer l.close()
	for off, b := range want {
		r := &blockdev.Request{Op: blockdev.Read, Offset: off, Buf: l.bufs[0]}
		l.do([]*blockdev.Request{r})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if !bytes.Equal(r.Buf, bytes.Repeat([]byte{b}, block)) {
			t.Fatalf("%s: acknowledged as stable at %d, and lost", name, off)
		}
	}
}
