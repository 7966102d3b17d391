package blocktest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// block is what PowerCut writes at a time; bytes.
const block = 4096

// state is what must be on the drive after the first entries of its journal.
type state struct {
	entries int
	stable  map[int64]byte // by offset: what fills the block
}

// PowerCut writes through the device that over puts on m, cuts the power
// before and after each operation that reached m, and looks through a new
// device that what was acknowledged after a Flush or with FUA is there. m must
// be empty and have place for 32 blocks of 4096 bytes.
func PowerCut(t *testing.T, m *Memory, over func(t *testing.T, m *Memory) blockdev.Device) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m.Record()
	states := writeStates(t, m, over(t, m), rand.New(rand.NewPCG(seed, 0)))
	cuts := 0
	for name, drive := range m.Cuts(seed) {
		cuts++
		checkStable(t, name, over(t, drive), acknowledged(t, name, states))
	}
	if cuts < 2*len(states) {
		t.Errorf("only %d cuts in %d operations", cuts, len(states))
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
	// What is being overwritten when the power goes may be old or new.
	for _, s := range states {
		if s.entries > entries {
			stable = maps.Clone(stable)
			maps.DeleteFunc(stable, func(off int64, b byte) bool { return s.stable[off] != b })
			break
		}
	}
	return stable
}

func writeStates(t *testing.T, m *Memory, d blockdev.Device, rng *rand.Rand) (states []state) {
	t.Helper()
	s, err := blockdev.NewSync(d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stable, written := map[int64]byte{}, map[int64]byte{}
	for i := range 120 {
		off, b := rng.Int64N(32)*block, byte(i+1)
		r := blockdev.Request{Op: blockdev.Write, Offset: off, Buf: bytes.Repeat([]byte{b}, block)}
		if rng.IntN(3) == 0 {
			b = 0
			r = blockdev.Request{Op: blockdev.WriteZeroes, Offset: off, Length: block}
		}
		switch rng.IntN(4) {
		case 0:
			r.Flags = blockdev.FUA
			stable[off], written[off] = b, b
		case 1:
			r = blockdev.Request{Op: blockdev.Flush}
			maps.Copy(stable, written)
		default:
			delete(stable, off)
			written[off] = b
		}
		if err := s.Do(r); err != nil {
			t.Fatal(err)
		}
		states = append(states, state{len(m.Journal()), maps.Clone(stable)})
	}
	return states
}

func checkStable(t *testing.T, name string, d blockdev.Device, want map[int64]byte) {
	t.Helper()
	s, err := blockdev.NewSync(d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	buf := make([]byte, block)
	for off, b := range want {
		if _, err := s.ReadAt(buf, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf, bytes.Repeat([]byte{b}, block)) {
			t.Fatalf("%s: acknowledged as stable at %d, and lost", name, off)
		}
	}
}
