package blocktest

import (
	"fmt"
	"iter"
	"math/rand/v2"

	"sealbay/blockcrypt/blockdev"
)

// Fate is what a power cut does to one sector of a write that no flush has
// covered.
type Fate uint8

// The fates of a sector.
const (
	Lost Fate = iota // the old content stays
	Kept             // the new content is there
	Torn             // the first half is new, the second old
)

// Keep decides the fate of one 512-byte sector of an unflushed write: write
// is its index among the unflushed ones, of which there are n, and sector
// counts within it.
type Keep func(write, n, sector int) Fate

// KeepNone loses every unflushed write.
func KeepNone(int, int, int) Fate { return Lost }

// KeepAll keeps every unflushed write.
func KeepAll(int, int, int) Fate { return Kept }

// KeepLast keeps only the newest unflushed write: the drive reordered.
func KeepLast(write, n, _ int) Fate {
	if write == n-1 {
		return Kept
	}
	return Lost
}

// TearLast keeps all, but of the newest write only the first sector and half
// of the second; a write of one sector is torn in the middle.
func TearLast(sectors int) Keep {
	return func(write, n, sector int) Fate {
		switch torn := min(sectors-1, 1); {
		case write < n-1 || sector < torn:
			return Kept
		case sector == torn:
			return Torn
		}
		return Lost
	}
}

// KeepRandom decides by coin for each write, and for one write in four for
// each of its sectors.
func KeepRandom(rng *rand.Rand) Keep {
	fate, apart, last := Lost, false, -1
	return func(write, _, _ int) Fate {
		if write != last {
			last, apart, fate = write, rng.IntN(4) == 0, Fate(rng.IntN(2))
		}
		if apart {
			return Fate(rng.IntN(3))
		}
		return fate
	}
}

// Crash returns the drive as a power cut right now would leave it: what was
// flushed or written with FUA, and of the rest what keep says. Faults and
// recording are off in it. m itself goes on unchanged.
func (m *Memory) Crash(keep Keep) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashAt(len(m.journal), keep)
}

func (m *Memory) crashAt(cut int, keep Keep) *Memory {
	journal := m.journal[:cut]
	stable := durable(journal)
	c := &Memory{info: m.info, seed: m.seed, base: m.base.clone()}
	n, write := unflushed(stable), 0
	for i, e := range journal {
		if stable[i] {
			e.put(c.base, e.Offset, e.Length)
			continue
		}
		e.survive(c.base, write, n, keep)
		write++
	}
	c.now = c.base.clone()
	return c
}

func unflushed(stable []bool) (n int) {
	for _, s := range stable {
		if !s {
			n++
		}
	}
	return n
}

func (e Entry) survive(p pages, write, n int, keep Keep) {
	for s := int64(0); s*sectorSize < e.Length; s++ {
		off := e.Offset + s*sectorSize
		size := min(sectorSize, e.Length-s*sectorSize)
		switch keep(write, n, int(s)) {
		case Kept:
			e.put(p, off, size)
		case Torn:
			e.put(p, off, size/2)
		}
	}
}

// Cuts yields the recorded drive as a power cut before the first operation,
// and after each one, may leave it: for every place a name that says where
// and how, and a drive for the taking. Unflushed writes are lost, all kept,
// only the newest kept, the newest torn, and kept by chance of seed (twice).
func (m *Memory) Cuts(seed uint64) iter.Seq2[string, *Memory] {
	m.mu.Lock()
	journal := m.journal
	m.mu.Unlock()
	return func(yield func(string, *Memory) bool) {
		for cut := range len(journal) + 1 {
			for name, keep := range ways(journal[:cut], seed+uint64(cut)) {
				where := fmt.Sprintf("cut %d of %d, %s, %s", cut, len(journal), after(journal, cut), name)
				if !yield(where, m.crashAt(cut, keep)) {
					return
				}
			}
		}
	}
}

func after(journal []Entry, cut int) string {
	if cut == 0 {
		return "before the first operation"
	}
	return "after " + journal[cut-1].String()
}

// ways yields the kinds of luck worth a look at the end of journal.
func ways(journal []Entry, seed uint64) iter.Seq2[string, Keep] {
	n := unflushed(durable(journal))
	return func(yield func(string, Keep) bool) {
		if !yield("unflushed writes lost", KeepNone) || n == 0 {
			return
		}
		if !yield("unflushed writes kept", KeepAll) || !yield("newest write torn", TearLast(lastSectors(journal))) || n == 1 {
			return
		}
		if !yield("only the newest write kept", KeepLast) {
			return
		}
		for i := range uint64(2) {
			rng := rand.New(rand.NewPCG(seed, i))
			if !yield(fmt.Sprintf("by chance %d/%d", seed, i), KeepRandom(rng)) {
				return
			}
		}
	}
}

// lastSectors returns the length in sectors of the newest unflushed write.
func lastSectors(journal []Entry) int {
	stable := durable(journal)
	for i := len(journal) - 1; i >= 0; i-- {
		if !stable[i] && journal[i].Op != blockdev.Flush {
			return int(journal[i].Length / sectorSize)
		}
	}
	return 0
}
