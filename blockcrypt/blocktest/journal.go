package blocktest

import (
	"fmt"

	"sealbay/blockcrypt/blockdev"
)

// sectorSize is the unit in which a power cut keeps, loses or tears a write.
const sectorSize = 512

// Entry is one operation that changed the drive.
type Entry struct {
	Op     blockdev.Op // Write, Flush, Discard or WriteZeroes
	Flags  blockdev.Flags
	Offset int64  // bytes
	Length int64  // bytes
	Data   []byte // of a Write
	seq    int64  // counts every entry there ever was
	covers int64  // of a Flush: entries below this seq are stable with it
}

func newEntry(r *blockdev.Request, n, seq, covers int64) Entry {
	e := Entry{seq: seq, Op: r.Op, Flags: r.Flags, Offset: r.Offset, Length: n}
	switch r.Op {
	case blockdev.Write:
		e.Data = append([]byte(nil), r.Buf[:n]...)
	case blockdev.Flush:
		e.Offset, e.Length, e.covers = 0, 0, covers
	}
	return e
}

// String describes the entry: "write at 4096+512".
func (e Entry) String() string {
	if e.Op == blockdev.Flush {
		return "flush"
	}
	fua := ""
	if e.Flags&blockdev.FUA != 0 {
		fua = " (FUA)"
	}
	return fmt.Sprintf("%s at %d+%d%s", e.Op, e.Offset, e.Length, fua)
}

// put stores the bytes of e that lie in n bytes from off.
func (e Entry) put(p pages, off, n int64) {
	switch e.Op {
	case blockdev.Write:
		p.write(off, e.Data[off-e.Offset:][:n])
	case blockdev.WriteZeroes:
		p.fill(off, n, zeroPage)
	case blockdev.Discard:
		p.fill(off, n, garbagePage)
	}
}

// Record starts the journal anew and keeps all of it from now on: the drive
// as it is becomes the state before the first entry, wholly stable.
func (m *Memory) Record() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record, m.journal, m.base = true, nil, m.now.clone()
}

// Journal returns the operations since Record, or, without Record, those that
// no flush has covered yet.
func (m *Memory) Journal() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Entry(nil), m.journal...)
}

// fold moves what the newest entry, a flush, made stable into base, so that
// the journal does not grow where nobody asked for it.
func (m *Memory) fold() {
	stable := durable(m.journal)
	rest := m.journal[:0]
	folding := true
	for i, e := range m.journal {
		// An entry behind an unstable one stays: it may overwrite it.
		if folding = folding && stable[i]; folding {
			e.put(m.base, e.Offset, e.Length)
		} else if e.Op != blockdev.Flush {
			e.Flags |= fua(stable[i])
			rest = append(rest, e)
		}
	}
	m.journal = rest
}

func fua(stable bool) blockdev.Flags {
	if stable {
		return blockdev.FUA
	}
	return 0
}

// durable says for each entry whether it survives a power cut after the last.
func durable(journal []Entry) []bool {
	covered := int64(0)
	for _, e := range journal {
		covered = max(covered, e.covers)
	}
	stable := make([]bool, len(journal))
	for i, e := range journal {
		stable[i] = e.seq < covered || e.Op == blockdev.Flush || e.Flags&blockdev.FUA != 0
	}
	return stable
}
